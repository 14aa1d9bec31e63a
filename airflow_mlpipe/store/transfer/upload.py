"""Bringing files to a server."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.parallel import in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.budget import Budget
from airflow_mlpipe.store.transfer.origin import Origin
from airflow_mlpipe.store.transfer.presence import Sendable, absent
from airflow_mlpipe.store.transfer.remote_file import RemoteFile, service_of
from airflow_mlpipe.store.transfer.server import SMALL, SMALL_AT_ONCE, THREADS, Server, Upload
from airflow_mlpipe.store.transfer.servers import server_of
from airflow_mlpipe.store.transient import persistently

WHOLE = 16 << 20
"""Files of up to so many bytes go by one request."""

PART = 8 << 20
"""What one request sends of a larger file, in bytes."""

# What is sent at once has to fit in here. Clients hold it twice while they send it.
MEMORY = 40 << 20

# S3 takes no more parts of a file; the parts of a file that would have more are larger.
_MOST_PARTS = 10_000


@dataclass(frozen=True)
class Uploaded:
    """How many files and bytes were sent, and how many files were there already."""

    sent: int
    skipped: int
    bytes: int


def upload_files(
    filesystem: Any,
    files: Iterable[Sendable],
    progress: Progress,
    digests: RemoteDigests | None = None,
    *,
    there: Mapping[str, RemoteFile] | None = None,
    seen: Callable[[Origin, str], object] = lambda origin, digest: None,
    pause: Callable[[float], object] = time.sleep,
) -> Uploaded:
    """Put each file at its path in *filesystem*, in place of what is there.

    *there* is what lies at those paths, as far as it was listed: a file with the same bytes is passed over.
    *digests* knows, and learns, what was sent; *seen* is told the digest of each file that was. *progress* is
    told the bytes that are sent. *pause* is given the seconds between
    two tries of what failed in passing.

    Each file appears at once, with all its bytes (by a driver that is not S3's, Azure's, Google's or SFTP's,
    as that driver does it). Raises StoreError when one cannot be sent, or has not its digest; files that were
    sent before stay. Memory is taken for a few parts, whatever the sizes.
    """
    server, wanted = server_of(filesystem), list(files)
    needed = absent(server, wanted, there, digests) if there else wanted
    progress.expect(sum(origin.size() for origin, _ in needed))
    try:
        sent = _Sending(server, progress, digests, seen, pause).send(needed)
    finally:
        filesystem.invalidate_cache()
    return dataclasses.replace(sent, skipped=len(wanted) - len(needed))


@dataclass(eq=False)
class _Large:
    """A file on its way in so many *parts*."""

    origin: Origin
    path: str
    size: int
    upload: Upload
    parts: int
    sent: list[Any] = field(default_factory=list)
    hashed: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class _Part:
    """One part of a large file, from 1; *held* bytes of memory are taken for it."""

    large: _Large
    number: int
    data: bytes
    held: int


@dataclass(frozen=True)
class _Whole:
    """A file that is sent at once, or as its driver does it; *held* bytes of memory are taken for it."""

    origin: Origin
    path: str
    size: int
    held: int


@dataclass(frozen=True)
class _Answer:
    """What the server answered to a part of so many bytes."""

    large: _Large
    size: int
    tag: Any


@dataclass(frozen=True)
class _Sent:
    """A file that is there, its digest, and the stamp that it got."""

    origin: Origin
    path: str
    size: int
    digest: str
    stamp: str | None


@dataclass
class _Sending:
    """Files on their way to one server."""

    server: Server
    progress: Progress
    digests: RemoteDigests | None
    seen: Callable[[Origin, str], object]
    pause: Callable[[float], object]
    _budget: Budget = field(default_factory=lambda: Budget(MEMORY), init=False)
    _begun: set[_Large] = field(default_factory=set, init=False)
    _sent: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def send(self, files: Iterable[Sendable]) -> Uploaded:
        try:
            with closing(in_order(self._answered, self._pieces(files), THREADS)) as answered:
                for answer in chain.from_iterable(answered):
                    if isinstance(answer, _Answer):
                        self._go_on(answer.large, answer)
                    else:
                        self.progress.advance(answer.size)
                        self._note(answer)
        finally:
            for large in self._begun:
                with suppress(StoreError):
                    large.upload.abort()
        return Uploaded(self._sent, 0, self._bytes)

    def _pieces(self, files: Iterable[Sendable]) -> Iterator[list[_Whole] | _Part]:
        """The work, with memory taken for it in its order: so who holds some never waits for more."""
        few: list[_Whole] = []
        for origin, path in files:
            size = origin.size()
            is_small = size <= SMALL and self.server.writes_parts
            if few and (not is_small or len(few) == SMALL_AT_ONCE):
                yield few
                few = []
            if size > WHOLE and self.server.writes_parts:
                yield from self._parts(origin, path, size)
                continue
            held = size if self.server.writes_parts else 0
            self._budget.take(held)
            few.append(_Whole(origin, path, size, held))
            if not is_small:
                yield few
                few = []
        if few:
            yield few

    def _parts(self, origin: Origin, path: str, size: int) -> Iterator[_Part]:
        length = max(PART, -(-size // _MOST_PARTS))
        upload = persistently(lambda: self.server.begin(path, origin.find_digest), self.pause)
        large = _Large(origin, path, size, upload, -(-size // length))
        self._begun.add(large)
        with closing(origin.blocks()) as blocks:
            parts = _joined(blocks, length)
            for number in range(1, large.parts + 1):
                self._budget.take(length)
                data = next(parts, b"")
                large.hashed.update(data)
                # The end is reached before the last part goes: then the file was steady.
                if number == large.parts and next(parts, None) is not None:
                    raise StoreError(
                        f"what is sent to {self.server.url(path)} grows; let nothing write there"
                    )
                yield _Part(large, number, data, length)

    def _answered(self, piece: list[_Whole] | _Part, checkpoint: Callable[[], None]) -> list[_Answer | _Sent]:
        """Send a piece. What comes back waits for its turn, and so holds nothing of what was sent."""
        try:
            checkpoint()
            if isinstance(piece, list):
                return self._at_once(piece) if self.server.writes_parts else list(map(self._by_driver, piece))
            upload, number, data = piece.large.upload, piece.number, piece.data
            tag = persistently(lambda: upload.send(number, data), self.pause)
            return [_Answer(piece.large, len(data), tag)]
        finally:
            self._budget.give_back(
                sum(item.held for item in piece) if isinstance(piece, list) else piece.held
            )

    def _at_once(self, files: list[_Whole]) -> list[_Answer | _Sent]:
        ready = [(whole.path, *self._loaded(whole)) for whole in files]
        write = self.server.write
        stamps = self.server.write_small(ready) if len(ready) > 1 else [None]
        sent: list[_Answer | _Sent] = []
        for whole, (path, data, digest), stamp in zip(files, ready, stamps, strict=True):
            if len(ready) == 1 or isinstance(stamp, StoreError):  # alone it may go, if it failed in passing
                stamp = persistently(partial(write, path, data, digest), self.pause)
            sent.append(_Sent(whole.origin, path, whole.size, digest, stamp))
        return sent

    def _loaded(self, whole: _Whole) -> tuple[bytes, str]:
        """The bytes of a file, and their digest."""
        data = b"".join(whole.origin.blocks())
        return data, self._checked(whole.origin, whole.path, hashlib.sha256(data).hexdigest())

    def _by_driver(self, whole: _Whole) -> _Sent:
        with tempfile.TemporaryDirectory(prefix="mlpipe-") as scratch:
            file = whole.origin.on_disk(Path(scratch) / "file")
            before = file.stat()
            digest = self._checked(whole.origin, whole.path, sha256_file(file))
            stamp = persistently(lambda: self.server.send(file, whole.path, digest), self.pause)
            if file.stat().st_mtime_ns != before.st_mtime_ns:
                raise StoreError(f"{file} was changed while it was sent; let nothing write there")
            return _Sent(whole.origin, whole.path, whole.size, digest, stamp)

    def _go_on(self, large: _Large, answer: _Answer) -> None:
        """Note that a part was sent; after the last one the file appears."""
        large.sent.append(answer.tag)
        self.progress.advance(answer.size)
        if len(large.sent) < large.parts:
            return
        digest = self._checked(large.origin, large.path, large.hashed.hexdigest())
        stamp = persistently(lambda: large.upload.complete(large.sent, digest), self.pause)
        self._begun.remove(large)
        self._note(_Sent(large.origin, large.path, large.size, digest, stamp))

    def _note(self, sent: _Sent) -> None:
        self._sent += 1
        self._bytes += sent.size
        self.seen(sent.origin, sent.digest)
        if self.digests is not None:
            service = service_of(self.server.filesystem)
            file = RemoteFile(self.server.url(sent.path), sent.size, sent.stamp, service=service)
            self.digests.learn(file, sent.digest)

    def _checked(self, origin: Origin, path: str, digest: str) -> str:
        if origin.digest not in (None, digest):
            raise StoreError(
                f"what is sent to {self.server.url(path)} was changed since it was hashed: its SHA-256 is "
                f"{digest} instead of {origin.digest}"
            )
        return digest


def _joined(blocks: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The same bytes in blocks of *length*, but for the last one."""
    held, size = list[bytes](), 0
    for block in blocks:
        while size + len(block) >= length:
            cut = length - size
            yield b"".join([*held, block[:cut]])
            block, held, size = block[cut:], [], 0
        if block:
            held.append(block)
            size += len(block)
    if held:
        yield b"".join(held)
