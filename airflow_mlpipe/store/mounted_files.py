"""Remote files shown as a folder by FUSE, without a copy: ``python -m airflow_mlpipe.store.mounted_files``.

The process reads a :class:`MountDocument` from its standard input, because that holds the options of
datastores and so secrets. It mounts the folder, and ends when that is unmounted. The folder has exactly the
files of the document, which are those that were fingerprinted: one that is another by now cannot be opened.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import json
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_mlpipe.access import Access, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.remote_file import stamp_of
from airflow_mlpipe.store.transfer.servers import server_of
from airflow_mlpipe.store.transient import persistently

log = logging.getLogger(__name__)

# A file is read in blocks of so many bytes, and keeps the last few: the kernel asks for parts out of order.
_BLOCK = 4 << 20
_BLOCKS_OF_A_FILE = 4
_FOR_EVER = 1_000_000_000

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class MountedFile:
    """A file of the folder: its *path* there, its URL, and the size and stamp that it must have.

    *options* is the number of the options that its driver is called with, in the document.
    """

    path: str
    url: str
    size: int
    stamp: str | None
    options: int = 0


@dataclass(frozen=True)
class MountDocument:
    """What to mount where, and the different options of the drivers."""

    mount_point: str
    files: Sequence[MountedFile]
    options: Sequence[Mapping[str, Any]]

    def to_json(self) -> str:
        """Raises TypeError for options that are no JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> MountDocument:
        """Read what :meth:`to_json` wrote."""
        document = json.loads(text)
        files = [MountedFile(**file) for file in document["files"]]
        return cls(document["mount_point"], files, document["options"])


class _OpenFile:
    """A file while somebody reads it; OSError when it is not, or not any more, the one that was listed."""

    def __init__(self, file: MountedFile, access: Access) -> None:
        self._lock = threading.Lock()
        self._file = file
        self._block = functools.lru_cache(_BLOCKS_OF_A_FILE)(self._read_block)
        driver, self._path = opened(access)
        self._server = server_of(driver)
        self._stream = None
        if not self._server.reads_ranges:
            self._stream = driver.open(self._path, "rb", block_size=_BLOCK, cache_type="none")
        info = getattr(self._stream, "details", None) or driver.info(self._path)
        if (info.get("size"), file.stamp and stamp_of(info)) != (file.size, file.stamp):
            raise OSError(errno.ESTALE, f"{file.url} has changed since it was listed")

    def read(self, size: int, offset: int) -> bytes:
        stop, parts = min(offset + size, self._file.size), []
        with self._lock:
            while offset < stop:
                part = self._block(offset // _BLOCK)[offset % _BLOCK :][: stop - offset]
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _read_block(self, number: int) -> bytes:
        start, stop = number * _BLOCK, min((number + 1) * _BLOCK, self._file.size)
        if self._stream is None:
            # Drivers do not all mind when a file becomes another one while it is open.
            return b"".join(self._server.read(self._path, start, stop, self._file.stamp))
        self._stream.seek(start)
        block = bytes(self._stream.read(stop - start))
        if len(block) != stop - start:
            raise OSError(errno.ESTALE, f"{self._file.url} has changed since it was opened")
        return block


class MountedFiles:
    """The operations of FUSE on the folder, by path. Those that are not here are refused by its defaults."""

    use_ns = True

    def __init__(self, document: MountDocument) -> None:
        self._options = document.options
        self._files = {f"/{file.path}": file for file in document.files}
        self._names: dict[str, list[str]] = {"/": []}
        for path in self._files:
            self._enter(path)
        now = time.time_ns()
        self._status = {
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_atime": now,
            "st_mtime": now,
            "st_ctime": now,
        }
        self._handles = itertools.count(1)
        self._open: dict[int, _OpenFile] = {}

    def getattr(self, path: str, handle: int | None = None) -> dict[str, Any]:
        if (file := self._files.get(path)) is not None:
            mode, size = stat.S_IFREG | 0o444, file.size
            return {
                **self._status,
                "st_mode": mode,
                "st_nlink": 1,
                "st_size": size,
                "st_blocks": -(-size // 512),
            }
        if path in self._names:
            return {**self._status, "st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}
        raise OSError(errno.ENOENT, path)

    def readdir(self, path: str, handle: int) -> list[str]:
        return [".", "..", *self._names[path]]

    def open(self, path: str, flags: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, path)
        file = self._files[path]
        access = Access(file.url, self._options[file.options])
        handle = next(self._handles)
        self._open[handle] = _answer(file, lambda: _OpenFile(file, access))
        return handle

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return _answer(self._files[path], lambda: self._open[handle].read(size, offset))

    def release(self, path: str, handle: int) -> int:
        self._open.pop(handle).close()
        return 0

    def _enter(self, path: str) -> None:
        """List *path* in its folder, and that one, when it is new, in its own."""
        folder, _, name = path.rpartition("/")
        if folder and folder not in self._names:
            self._names[folder] = []
            self._enter(folder)
        self._names[folder or "/"].append(name)


def _answer(file: MountedFile, operation: Callable[[], Answer]) -> Answer:
    """What *operation* returns, tried again while it fails in passing; OSError with what FUSE is to say."""

    def attempt() -> Answer:
        try:
            return operation()
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ENOENT):
                raise
            raise StoreError(f"{file.url} cannot be read: {error}") from error
        except Exception as error:
            raise StoreError(f"{file.url} cannot be read: {type(error).__name__}: {error}") from error

    try:
        return persistently(attempt, time.sleep)
    except StoreError as error:
        log.warning("%s", error)
        raise OSError(errno.EIO, file.path) from error


def main() -> None:
    """Mount what standard input says, until it is unmounted."""
    from fuse import FUSE, Operations  # type: ignore[import-untyped]

    class ReadOnly(MountedFiles, Operations):  # type: ignore[misc]
        """What we do not answer, FUSE refuses as on a disk that is mounted read-only."""

    document = MountDocument.from_json(sys.stdin.read())
    FUSE(
        ReadOnly(document),
        document.mount_point,
        foreground=True,
        ro=True,
        fsname="mlpipe",
        # Nothing in the folder ever changes: the kernel may remember names and bytes as long as it likes.
        kernel_cache=True,
        attr_timeout=_FOR_EVER,
        entry_timeout=_FOR_EVER,
    )


if __name__ == "__main__":
    main()
