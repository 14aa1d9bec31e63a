"""What killed processes leave on a local disk: temporary files, and folders without a file in them.

A remote store has neither, but for empty objects by which its clock was asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import is_temporary, remove
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ATTEMPTS, ROOT, RUNS, steps_prefix

# A folder that deep below one of these is that of one step, of one run, of one attempt.
_DEPTHS = {steps_prefix(): 2, RUNS: 2, ATTEMPTS: 1}
# What is below these in an attempt was named by the step.
_OF_STEPS = ("outputs", "files")


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something temporary, or a folder without files; *age* is in seconds by the clock of the store."""

    key: str
    size: int
    age: float
    is_folder: bool


def leftovers(datastore: Datastore, now: float) -> Iterator[Leftover]:
    """What is left in *datastore*, however young; *now* is the time of the store. Raises StoreError."""
    root = datastore.local_path(ROOT)
    if root is None:
        return
    try:
        for folder, folders, files in os.walk(root):
            key = f"{ROOT}{folder.removeprefix(str(root))}"
            for name in filter(is_temporary, [*folders, *files]):
                yield from _temporary(Path(folder, name), f"{key}/{name}", now)
            folders[:] = [name for name in folders if not _is_left_alone(key, name)]
            if not files and _is_thing(key) and (newest := _newest_of_hollow(Path(folder))) is not None:
                yield Leftover(key, 0, now - newest, is_folder=True)
                folders.clear()
    except OSError as error:
        raise StoreError(f"cannot list {datastore.url}: {error}; check its permissions") from error


def remove_leftover(datastore: Datastore, key: str, *, is_folder: bool) -> bool:
    """Remove what is left at *key*; False when a folder has got a file meanwhile. Raises StoreError."""
    path = datastore.local_path(key)
    assert path is not None  # nothing else has leftovers
    try:
        if not is_folder:
            remove(path)
            return True
        for folder, _, _ in os.walk(path, topdown=False):
            # Unlike the removal of a tree this never takes a file along.
            Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if is_folder and _newest_of_hollow(path) is None:
            return False
        raise StoreError(f"cannot remove {path}: {error}; check its permissions") from error
    return True


def _temporary(path: Path, key: str, now: float) -> Iterator[Leftover]:
    try:
        inside = [file.lstat() for file in path.rglob("*")] if path.is_dir() else []
        own = path.lstat()
    except FileNotFoundError:
        return  # its writer was at work
    newest = max(status.st_mtime for status in (own, *inside))
    yield Leftover(key, own.st_size + sum(status.st_size for status in inside), now - newest, is_folder=False)


def _is_left_alone(key: str, name: str) -> bool:
    return is_temporary(name) or (key.rpartition("/")[0] == ATTEMPTS and name in _OF_STEPS)


def _is_thing(key: str) -> bool:
    return any(
        key.startswith(f"{prefix}/") and key.removeprefix(prefix).count("/") == depth
        for prefix, depth in _DEPTHS.items()
    )


def _newest_of_hollow(path: Path) -> float | None:
    """When something last changed in a folder without files, None when there is a file in it."""
    newest = path.stat().st_mtime
    for folder, _, files in os.walk(path):
        if files:
            return None
        newest = max(newest, Path(folder).stat().st_mtime)
    return newest
