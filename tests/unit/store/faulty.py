"""Stores that misbehave as real ones do, around one that works."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.folder import Folder, StoredFile
from airflow_mlpipe.store.progress import Progress


class Fault(Protocol):
    """Asked before and after each call of a store: raise for a call that is to fail at that point."""

    def __call__(self, verb: str, key: str, *, after: bool) -> None: ...


class FaultyFolder:
    """A folder whose every call is first, and again when it has had its effect, shown to a *fault*."""

    def __init__(self, folder: Folder, fault: Fault) -> None:
        self.url = folder.url
        self._folder = folder
        self._fault = fault

    def local_path(self, key: str) -> Path | None:
        return self._folder.local_path(key)

    def read(self, key: str) -> bytes | None:
        return self._call("read", key)

    def write(self, key: str, data: bytes) -> None:
        self._call("write", key, data)

    def create(self, key: str, data: bytes) -> bool:
        return self._call("create", key, data)

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        return self._call("swap", key, expected, data)

    def weakness(self) -> str | None:
        return self._folder.weakness()

    def delete(self, key: str) -> bool:
        return self._call("delete", key)

    def delete_tree(self, prefix: str) -> None:
        self._call("delete_tree", prefix)

    def exists(self, key: str) -> bool:
        return self._call("exists", key)

    def age(self, key: str) -> float | None:
        return self._call("age", key)

    def written_at(self, key: str) -> float | None:
        return self._call("written_at", key)

    def files(self, prefix: str) -> Iterator[StoredFile]:
        """The fault comes in the middle: after the first file."""
        self._fault("files", prefix, after=False)
        for number, file in enumerate(self._folder.files(prefix)):
            if number == 1:
                self._fault("files", prefix, after=True)
            yield file

    def digest(self, key: str) -> str | None:
        return self._call("digest", key)

    def upload(self, source: Path, key: str, progress: Progress) -> None:
        self._call("upload", source, key, progress)

    def download(self, key: str, destination: Path, progress: Progress) -> None:
        self._call("download", key, destination, progress)

    def _call(self, verb: str, *arguments: Any) -> Any:
        key = str(arguments[1] if verb == "upload" else arguments[0])
        self._fault(verb, key, after=False)
        answer = getattr(self._folder, verb)(*arguments)
        self._fault(verb, key, after=True)
        return answer


class ClockedFolder(FaultyFolder):
    """A folder whose own clock is *clock*: by it the ages of its files are told."""

    def __init__(self, folder: Folder, clock: Callable[[], float], fault: Fault | None = None) -> None:
        super().__init__(folder, fault or Unreliable(seed=0, one_in=0))
        self._clock = clock
        self._written: dict[str, float] = {}

    def age(self, key: str) -> float | None:
        there = self._call("exists", key)
        return self._clock() - self._written[key] if there else None

    def _call(self, verb: str, *arguments: Any) -> Any:
        written = self._clock()
        try:
            return super()._call(verb, *arguments)
        finally:
            if verb in ("write", "create", "swap") and self._folder.read(arguments[0]) == arguments[-1]:
                self._written[arguments[0]] = written


# Their answer may be lost on the way when the store has done what was asked. A second "delete" cannot tell
# whether there was something, and so is left out.
LOSING_ANSWERS = ("read", "write", "create", "swap", "exists", "delete_tree", "files", "upload")


class Unreliable:
    """Fails one call in *one_in* (0: none) in passing, half of those after their effect, chosen by *seed*."""

    def __init__(self, seed: int, one_in: int = 10) -> None:
        self._random = random.Random(seed)
        self._one_in = one_in
        self.failures = 0

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        if after and verb not in LOSING_ANSWERS:
            return
        if self._one_in and self._random.randrange(2 * self._one_in) == 0:
            self.failures += 1
            raise lost_connection(verb, key)


class Scripted:
    """Fails the calls in *failing*, a set of ``(number of the call from 1, after its effect)``."""

    def __init__(self, failing: set[tuple[int, bool]], error: Callable[[str, str], Exception]) -> None:
        self._failing = failing
        self._error = error
        self.calls = 0

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        self.calls += not after
        if (self.calls, after) in self._failing:
            raise self._error(verb, key)


def lost_connection(verb: str, key: str) -> StoreError:
    """What a store raises when the network fails."""
    return caused_by(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), verb, key)


def caused_by(cause: Exception, verb: str = "read", key: str = "a") -> StoreError:
    """The StoreError that a folder makes of *cause*."""
    error = StoreError(f"cannot {verb} {key}: {cause}; check the network")
    error.__cause__ = cause
    return error
