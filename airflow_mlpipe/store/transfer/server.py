"""Services that keep files, behind the drivers of fsspec."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.remote_file import stamp_of

BLOCK = 1 << 20
"""Bytes that are read from a server at a time."""

THREADS = 16
"""So many requests to a server are under way at once."""

SMALL = 128 << 10
"""Files of up to so many bytes are read and written several at a time."""

SMALL_AT_ONCE = 8
"""So many of them."""

SmallFile = tuple[str, int, str | None]
"""The path, size and stamp of a small file that is to be read."""

_CONDITION_FAILED = 412

# The query of a web address, which may be as good as a password.
_QUERY = re.compile(r"(?<=://)([^\s?'\"]*)\?[^\s'\"]*")


class Upload(Protocol):
    """A file on its way to a server in parts, which appears when it is completed."""

    def send(self, number: int, data: bytes) -> object:
        """Send part *number*, from 1; returns what :meth:`complete` is to be told of it. Safe for threads."""

    def complete(self, sent: list[Any], digest: str) -> str | None:
        """Let the file appear, made of the parts *sent*, in order; returns its stamp if that is known."""

    def abort(self) -> None:
        """Forget what was sent."""


class Server:
    """A service as transfers use it, by any driver: files are brought and sent whole.

    Its methods block, are safe for threads, and raise StoreError. Drivers that keep no background loop are
    called by one thread at a time: few of them stand more.
    """

    reads_ranges = False
    """Whether :meth:`read` gives any part of a file."""
    writes_parts = False
    """Whether :meth:`write` and :meth:`begin` put bytes that lie in memory."""
    copies = False
    """Whether :meth:`copy` copies a file without its bytes leaving the service."""
    stamps_are_of_content = False
    """Whether files with the same stamp and size have the same bytes, wherever they lie."""

    def __init__(self, filesystem: Any) -> None:
        self.filesystem = filesystem
        is_async = getattr(filesystem, "async_impl", False)
        self._turn: AbstractContextManager[Any] = nullcontext() if is_async else threading.RLock()

    def fetch(self, path: str, target: Path, stamp: str | None) -> None:
        """Put the bytes at *path* into the file *target*; StoreError if they are not those of *stamp*."""
        with self.reporting("read", path), self._turn:
            self.filesystem.get_file(path, str(target))
        if stamp is not None:
            self.compare(path, stamp)

    def send(self, source: Path, path: str, digest: str) -> str | None:
        """Put the file *source* at *path*; returns the stamp that it has there, if that is known."""
        with self.reporting("write", path), self._turn:
            self.filesystem.put_file(str(source), path)
        return None

    def copy(self, source: str, path: str, size: int, stamp: str | None) -> str | None:
        """Let the service copy *source*, of *size* bytes in the state *stamp*, to *path*.

        Returns the stamp that it has there, if that is known.
        """
        with self.reporting("copy", source):
            self.filesystem.cp_file(source, path)
        return None

    def digest_beside(self, path: str) -> str | None:
        """The SHA-256 that an upload of ours noted beside the file at *path*, None when there is none."""
        return None

    def delete(self, path: str) -> None:
        """Delete the file at *path*; nothing there is fine."""
        with self.reporting("delete", path), self._turn, suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

    def read(self, path: str, start: int, stop: int, stamp: str | None) -> Generator[bytes, None, None]:
        """The bytes from *start* to *stop* of the file at *path*, in blocks.

        StoreError as soon as the file is not in the state *stamp* any more.
        """
        raise NotImplementedError

    def read_small(self, files: Sequence[SmallFile]) -> list[bytes | StoreError]:
        """All bytes of each of some small *files*, or what is wrong with it.

        One wait for several: waking a thread for each takes longer than the rest of what we do for it.
        """
        return [self._whole(*file) for file in files]

    def write(self, path: str, data: bytes, digest: str) -> str | None:
        """Put *data* at *path*; returns the stamp that it has there, if that is known."""
        raise NotImplementedError

    def write_small(self, files: Sequence[tuple[str, bytes, str]]) -> list[str | StoreError | None]:
        """What :meth:`write` returns for each path, data and digest, or what is wrong with it."""
        raise NotImplementedError

    def begin(self, path: str, digest: Callable[[], str | None]) -> Upload:
        """Begin to put a large file at *path*; *digest* finds its SHA-256, if it can be found beforehand."""
        raise NotImplementedError

    def _whole(self, path: str, size: int, stamp: str | None) -> bytes | StoreError:
        try:
            return b"".join(self.read(path, 0, size, stamp))
        except StoreError as error:
            return error

    def compare(self, path: str, stamp: str) -> None:
        """Raise StoreError when the file at *path* is not in the state *stamp* any more."""
        with self.reporting("look at", path), self._turn:
            self.filesystem.invalidate_cache()
            now = stamp_of(self.filesystem.info(path))
        if now != stamp:
            raise StoreError(
                f"{self.url(path)} was changed while it was read; try again when nobody writes there"
            )

    def url(self, path: str) -> str:
        """What people call *path*."""
        return str(self.filesystem.unstrip_protocol(path)).partition("?")[0]

    def reported(self, verb: str, path: str, answer: Any) -> Any:
        """*answer*, or the StoreError for it if it is what a driver raised."""
        if not isinstance(answer, BaseException):
            return answer
        try:
            with self.reporting(verb, path):
                raise answer
        except StoreError as error:
            return error

    @contextmanager
    def reporting(self, verb: str, path: str) -> Iterator[None]:
        """Turn whatever a driver raises into StoreError."""
        try:
            yield
        except StoreError:
            raise
        except FileNotFoundError as error:
            raise StoreError(f"cannot {verb} {self.url(path)}: it is not there, or not any more") from error
        except Exception as error:
            if _is_of_a_condition(error):
                raise StoreError(
                    f"{self.url(path)} was changed since it was listed; let nothing write there meanwhile"
                ) from error
            why = _QUERY.sub(r"\1", str(error)) or type(error).__name__
            raise StoreError(
                f"cannot {verb} {self.url(path)}: {why}; check the credentials, the network and the "
                "permissions"
            ) from error


async def all_of(requests: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """What each of *requests*, all made at once, returns or raises."""
    return await asyncio.gather(*(request() for request in requests), return_exceptions=True)


def _is_of_a_condition(error: BaseException | None) -> bool:
    """Whether a server refused because a file is not in the state that was asked for."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):  # botocore
            return bool(response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _CONDITION_FAILED)
        if getattr(error, "status_code", None) == _CONDITION_FAILED:  # Azure
            return True
        error = error.__cause__
    return False
