"""Trying out what reuse rests on: that a datastore keeps its promises, here and now."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import temporary_beside
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT

_SECOND = 1_000_000_000
_PROBES = 3


def try_out(datastore: Datastore) -> None:
    """Write, read, create exclusively, compare and swap, list and delete in a folder that does not stay.

    Raises StoreError for what the store refuses, and for a promise that it does not keep.
    """
    folder = f"{ROOT}/trial-{uuid.uuid4().hex}"
    try:
        _keep(datastore, f"{folder}/file")
    finally:
        with suppress(StoreError):  # what failed before says more
            datastore.delete_tree(folder)
    if list(datastore.files(folder)):
        raise StoreError(f"{datastore.url} still lists a folder that was deleted; {_ASK}")


def has_hard_links(root: Path, link: Callable[[Path, Path], None] = os.link) -> bool:
    """Whether files of the disk at *root* can have a second name. Raises OSError when it is not writable."""
    with temporary_beside(root / "trial") as one, temporary_beside(root / "trial") as other:
        one.touch()
        try:
            link(one, other)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            return False
    return True


def has_coarse_times(root: Path, stat: Callable[[Path], os.stat_result] = Path.stat) -> bool:
    """Whether the disk at *root* tells times of change in whole seconds only. Raises OSError."""
    for _ in range(_PROBES):
        with temporary_beside(root / "trial") as probe:
            probe.touch()
            if stat(probe).st_mtime_ns % _SECOND:
                return False
    return True


_ASK = "outputs are not safe there; use another store, or another fsspec driver"


def _keep(datastore: Datastore, key: str) -> None:
    promises: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("a file that was created is there", lambda: datastore.create(key, b"1") and datastore.exists(key)),
        ("of two who create a file one succeeds", lambda: not datastore.create(key, b"2")),
        ("what was written is read", lambda: datastore.read(key) == b"1"),
        ("a swap against other content is refused", lambda: not datastore.swap(key, b"2", b"3")),
        ("a swap against the same content is done", lambda: datastore.swap(key, b"1", b"4")),
        ("what is written replaces what was there", lambda: _rewritten(datastore, key)),
        ("what was written is listed", lambda: [file.key for file in datastore.files(key)] == [key]),
        ("what was deleted is gone", lambda: datastore.delete(key) and not datastore.exists(key)),
    )
    for promise, is_kept in promises:
        if not is_kept():
            raise StoreError(f"{datastore.url} does not keep a promise of stores: {promise}; {_ASK}")


def _rewritten(datastore: Datastore, key: str) -> bool:
    datastore.write(key, b"5")
    return datastore.read(key) == b"5"
