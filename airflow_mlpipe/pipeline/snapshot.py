"""The copy of a step's code that is run and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.pipeline.preparation import Preparation, code_of_step
from airflow_mlpipe.reuse.ignore import list_files
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import snapshot_key
from airflow_mlpipe.store.snapshot import SnapshotFile, pack


def take_snapshot(preparation: Preparation) -> bytes:
    """The archive of the source directory, proven to be the code that was fingerprinted.

    Raises UserError when a file was changed in between, so that what runs is never other than what the
    manifest says.
    """
    directory = preparation.definition.source_directory
    contents: dict[Path, bytes] = {}
    files = {}
    for relative in list_files(directory):
        path = directory / relative
        contents[path] = path.read_bytes()
        files[str(relative)] = SnapshotFile(contents[path], executable=bool(path.stat().st_mode & 0o100))

    def read(path: Path) -> bytes:
        return contents[path] if path in contents else path.read_bytes()

    code = code_of_step(preparation.definition, read, lambda path: hashlib.sha256(read(path)).hexdigest())
    if code.as_document() != preparation.code.as_document():
        raise UserError(
            f"{preparation.definition.who}: the code in {directory} was changed while the step was being "
            "prepared; run it again"
        )
    return pack(files)


def keep_snapshot(archive: bytes, datastore: Datastore) -> str:
    """Store the archive, once for equal code; the digest under which it lies."""
    digest = hashlib.sha256(archive).hexdigest()
    key = snapshot_key(digest)
    if not datastore.exists(key):
        datastore.create(key, archive)
    return digest
