"""The files of a folder output, each as a reference of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_mlpipe.errors import DocumentError, StoreError, UserError
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Entry
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.listing import entries_of
from airflow_mlpipe.store.manifest import ManifestEntry, ManifestMissing, read_manifest

log = logging.getLogger(__name__)


def files_of(folder: PipelineDataReference, stores: Stores, cache: HashCache) -> list[PipelineDataReference]:
    """References to all files of *folder*, sorted by path.

    Digests and sizes are those that were sealed with the folder; one that was not sealed, or was made again
    since, is hashed. Raises UserError when *folder* is no folder, StoreError when it is not there or is not
    what its reference says.
    """
    if folder.kind != "directory":
        what = "is one file" if folder.kind == "file" else "was not written"
        raise UserError(f"{folder.name} of {folder.producer} {what}; only a folder has files to list")
    entries: Sequence[Entry | ManifestEntry] | None = sealed_entries(folder, stores)
    if entries is None:
        entries = _hashed(folder, stores, cache)
    return [
        folder.file(entry.path, entry.digest, entry.size)
        for entry in sorted(entries, key=lambda entry: entry.path)
    ]


def sealed_entries(folder: PipelineDataReference, stores: Stores) -> list[ManifestEntry] | None:
    """The files of *folder* as its manifest has them; None when no manifest vouches for this very folder."""
    holder = stores.holding(folder.uri)
    if not folder.sealed or holder is None:
        return None
    try:
        output = read_manifest(holder, folder.fingerprint, stores.keyring).outputs.get(folder.name)
        if output is None or (holder.uri(output.key), output.digest) != (folder.uri, folder.digest):
            return None
        return list(entries_of(holder, output))
    except (ManifestMissing, DocumentError) as error:
        log.info("The files of %s are listed anew, because %s", folder.name, error)
        return None


def _hashed(folder: PipelineDataReference, stores: Stores, cache: HashCache) -> list[Entry]:
    """The files as they lie there."""
    path = local_path(folder.uri)
    if path is None:
        return _hashed_remotely(folder, stores.holding(folder.uri))
    entries: list[Entry] = []
    if describe(path, cache, keep=entries.append).digest == folder.digest:
        return entries
    raise StoreError(
        f"{folder.name} of {folder.producer} is not what its step handed on: {folder.uri} was changed or "
        "removed; run the step again"
    )


def _hashed_remotely(folder: PipelineDataReference, holder: Datastore | None) -> list[Entry]:
    if holder is None:
        raise StoreError(
            f"{folder.uri} lies in no datastore that this deployment knows, so its files cannot be listed; "
            "name its store in [mlpipe] read_datastores"
        )
    prefix = holder.key_of(folder.uri)
    files = ((file, holder.digest(file.key)) for file in holder.files(prefix))
    return [
        Entry(file.key.removeprefix(f"{prefix}/"), file.size, digest, executable=False)
        for file, digest in files
        if digest is not None
    ]
