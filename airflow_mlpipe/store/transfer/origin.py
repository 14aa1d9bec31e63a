"""Files that can be sent to a server, wherever they lie."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.transfer.reading import blocks_of
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.transfer.server import BLOCK, Server
from airflow_mlpipe.store.transient import persistently


class Origin(Protocol):
    """A file that is to be sent. Its methods are safe for threads, and raise StoreError."""

    @property
    def digest(self) -> str | None:
        """The SHA-256, in hex, that the bytes must have; None when nobody has hashed them."""

    def size(self) -> int:
        """In bytes."""

    def find_digest(self) -> str | None:
        """The digest, if it can be had without the network."""

    def blocks(self) -> Generator[bytes, None, None]:
        """All bytes; StoreError at the end when they were changed meanwhile."""

    def on_disk(self, scratch: Path) -> Path:
        """Where the file lies on this machine; it may be put at *scratch* for that."""


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine; ``digest`` is its SHA-256 in hex, None when nobody has hashed it."""

    path: Path
    digest: str | None = None

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from error

    def find_digest(self) -> str | None:
        try:
            return self.digest or sha256_file(self.path)
        except OSError as error:
            raise self._unreadable(error) from error

    def blocks(self) -> Generator[bytes, None, None]:
        try:
            with self.path.open("rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                while block := file.read(BLOCK):
                    yield block
                after = os.fstat(file.fileno())
        except OSError as error:
            raise self._unreadable(error) from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise StoreError(f"{self.path} was changed while it was read; let nothing write there")

    def on_disk(self, scratch: Path) -> Path:
        return self.path

    def _unreadable(self, error: OSError) -> StoreError:
        return StoreError(f"{self.path} cannot be read: {error.strerror}; check that it is there")


@dataclass(frozen=True)
class ServedFile:
    """A *file* of a *server*, which calls it *path*; its size is known."""

    server: Server
    path: str
    file: RemoteFile
    pause: Callable[[float], object] = time.sleep

    @property
    def digest(self) -> str | None:
        return self.file.digest

    def size(self) -> int:
        assert self.file.size is not None
        return self.file.size

    def find_digest(self) -> str | None:
        return self.file.digest

    def blocks(self) -> Generator[bytes, None, None]:
        if self.server.reads_ranges:
            yield from blocks_of(self.server, self.path, 0, self.size(), self.file.stamp, self.pause)
            return
        with tempfile.TemporaryDirectory(prefix="mlpipe-") as scratch:
            yield from LocalFile(self.on_disk(Path(scratch) / "file")).blocks()

    def on_disk(self, scratch: Path) -> Path:
        persistently(lambda: self.server.fetch(self.path, scratch, self.file.stamp), self.pause)
        return scratch
