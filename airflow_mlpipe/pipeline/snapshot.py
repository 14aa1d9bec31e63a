"""The copy of a step's code that is run and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.worker import code_of_step
from airflow_mlpipe.reuse.code_tree import CodeTree
from airflow_mlpipe.reuse.source_files import SourceFiles
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import snapshot_key
from airflow_mlpipe.store.snapshot import SnapshotFile, pack


def take_snapshot(preparation: Preparation) -> bytes:
    """The archive of the source directory and what comes along, proven to be what was fingerprinted.

    Raises UserError when a file was changed in between, so that what runs is never other than what the
    manifest says.
    """
    definition = preparation.definition
    tree = CodeTree(definition.source_directory, definition.bundle)
    names = (*tree.files, *preparation.code.along)
    files = {name: _read_file(tree.path(name)) for name in names if tree.path(name).is_file()}
    contents = {tree.path(name): file.data for name, file in files.items()}
    files |= {name: SnapshotFile(data) for name, data in definition.generated.items()}

    def read(path: Path) -> bytes:
        return contents[path] if path in contents else path.read_bytes()

    def digest(path: Path) -> str:
        return hashlib.sha256(read(path)).hexdigest()

    sources = SourceFiles(
        definition.source_directory, read=read, file_digest=digest, bundle=definition.bundle
    )
    code = code_of_step(definition, sources, preparation.around)
    if code.as_document() != preparation.code.as_document():
        raise UserError(
            f"{definition.who}: the code in {definition.source_directory or definition.bundle} was changed "
            "while the step was being prepared; run it again"
        )
    return pack(files)


def _read_file(path: Path) -> SnapshotFile:
    return SnapshotFile(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))


def keep_snapshot(archive: bytes, datastore: Datastore) -> str:
    """Store the archive, once for equal code; the digest under which it lies."""
    digest = hashlib.sha256(archive).hexdigest()
    key = snapshot_key(digest)
    if not datastore.exists(key):
        datastore.create(key, archive)
    return digest
