"""The clock of a store: the one that tells when its files were written."""

from __future__ import annotations

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import temporary_beside, temporary_name
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT


def store_time(datastore: Datastore) -> float | None:
    """What the clock of *datastore* says, in seconds since the epoch; None when its driver tells no times.

    An empty file is written for it, which does not stay. Raises StoreError when it cannot be written.
    """
    key = f"{ROOT}/{temporary_name()}"
    path = datastore.local_path(key)
    if path is None:
        return _remote_time(datastore, key)
    try:
        with temporary_beside(path) as probe:
            probe.touch(exist_ok=False)
            return probe.stat().st_mtime
    except OSError as error:
        raise StoreError(
            f"cannot write to {datastore.url}: {error}; check that the disk is mounted, has room, and that "
            "this user may write there"
        ) from error


def _remote_time(datastore: Datastore, key: str) -> float | None:
    datastore.write(key, b"")
    try:
        return datastore.written_at(key)
    finally:
        datastore.delete(key)
