"""Bringing remote files to this machine."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.parallel import in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import shown
from airflow_mlpipe.store.transfer.landing import Beside, InCache, Landing, Nowhere
from airflow_mlpipe.store.transfer.reading import blocks_of
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.transfer.server import BLOCK, SMALL, SMALL_AT_ONCE, THREADS, Server
from airflow_mlpipe.store.transfer.servers import Servers
from airflow_mlpipe.store.transient import persistently

log = logging.getLogger(__name__)

# What one request brings of a large file: long enough to make little of a server's delay, short enough for
# several to be under way at once, and for what is hashed behind them to be in the page cache still.
STRETCH = 256 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT)

# Seconds after which others are told what was learnt: they may want the same files, and then find them.
_PUBLISHED = 1.0


class Downloader:
    """Downloads files that *cache* has not. *digests* learns the digest of every file that came.

    *progress* is told the bytes that come. *pause* is given the seconds between two tries of what failed in
    passing; what came before stays. Memory is taken for a few blocks a request, whatever the sizes.
    """

    def __init__(
        self,
        cache: DownloadCache | None,
        digests: RemoteDigests,
        progress: Progress,
        *,
        servers: Servers | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._cache = cache
        self._digests = digests
        self._servers = servers or Servers()
        self._pause = pause
        self._progress = progress
        self._lock = threading.Lock()

    def fetch(self, files: Iterable[tuple[RemoteFile, Path]], *, own: bool) -> list[str]:
        """Put each file at its path, whose folder is made; the SHA-256 of each, in the order of *files*.

        With *own* they are writable copies, else read-only and shared with others on this machine. A path
        gets a whole file or none, and a file that is there already is replaced. Raises StoreError for one
        that its server has not, that has not its digest, or that was changed since it was listed; files that
        came before stay.
        """
        return self._bring([_Wanted(*wanted) for wanted in files], own)

    def digests(self, files: Sequence[RemoteFile]) -> list[str]:
        """The SHA-256 of each of *files*. Those that nobody knows are read, and come into the cache.

        Raises StoreError as :meth:`fetch`.
        """
        known = [self._digests.find(file) for file in files]
        wanted = [_Wanted(file) for file, digest in zip(files, known, strict=True) if digest is None]
        found = iter(self._bring(wanted, own=False))
        return [next(found) if digest is None else digest for digest in known]

    def _bring(self, wanted: Sequence[_Wanted], own: bool) -> list[str]:
        self._progress.expect(sum(item.file.size or 0 for item in wanted))
        left: Sequence[_Wanted] = wanted
        while left:
            # Files that others are bringing are left for the next round, whose first one is waited for: a
            # moment at which nothing is claimed here that somebody might wait for in turn.
            waits = left is not wanted
            pass_ = _Pass(self._cache, self._digests, self._servers, own, self._pause, self._advance)
            try:
                left = pass_.bring(left, waits)
            except _CacheFailed as failure:
                self._set_cache_aside(failure.reason)
                left = [item for item in wanted if not item.digest]
        self._digests.publish()
        if self._cache is not None:
            with suppress(OSError):
                self._cache.trim()
        return [item.digest for item in wanted]

    def _set_cache_aside(self, reason: OSError) -> None:
        assert self._cache is not None
        log.warning("The download cache is not used: %s; see whether its disk has room", reason)
        if reason.errno in _FULL:
            with suppress(OSError):
                self._cache.empty()
        self._cache = None

    def _advance(self, size: int) -> None:
        with self._lock:
            self._progress.advance(size)


@dataclass
class _Wanted:
    """A file, where it is to lie, if anywhere, and its digest as soon as it does or is known."""

    file: RemoteFile
    target: Path | None = None
    digest: str = ""


@dataclass(eq=False)
class _Incoming:
    """A file on its way in so many *stretches*, and what is *expected* of its digest."""

    wanted: _Wanted
    expected: str | None
    server: Server
    path: str
    landing: Landing
    stretches: int
    hashed: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class _Stretch:
    """The bytes of a file from *start* to *stop*, None for all that the server has."""

    incoming: _Incoming
    start: int
    stop: int | None

    @property
    def is_small(self) -> bool:
        """Whether it is a file that is brought with others."""
        return self.incoming.stretches == 1 and self.stop is not None and self.stop <= SMALL


_Received = tuple[_Stretch, str | None]
"""A stretch that came, with its digest if it is all of the file."""


class _CacheFailed(Exception):
    """The cache cannot do its work."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass
class _Pass:
    """One pass over files that are wanted."""

    cache: DownloadCache | None
    digests: RemoteDigests
    servers: Servers
    own: bool
    pause: Callable[[float], object]
    advance: Callable[[int], None]
    _later: list[_Wanted] = field(default_factory=list, init=False)
    _coming: set[_Incoming] = field(default_factory=set, init=False)
    _published_at: float = field(default_factory=time.monotonic, init=False)

    def bring(self, wanted: Iterable[_Wanted], waits: bool) -> list[_Wanted]:
        """Bring what nobody else is bringing, with *waits* the first in any case; returns what is left."""
        try:
            with closing(in_order(self._receive, self._pieces(wanted, waits), THREADS)) as received:
                for stretch, digest in chain.from_iterable(received):
                    self._take(stretch.incoming, stretch, digest)
        finally:
            for incoming in self._coming:
                incoming.landing.close()
        return self._later

    def _pieces(self, wanted: Iterable[_Wanted], waits: bool) -> Iterator[list[_Stretch]]:
        """Work for one thread at a time: a stretch, or a few small files of one server."""
        few: list[_Stretch] = []
        for stretch in self._stretches(wanted, waits):
            if not stretch.is_small:
                yield [stretch]
                continue
            if few and few[0].incoming.server is not stretch.incoming.server:
                yield few
                few = []
            few.append(stretch)
            if len(few) == SMALL_AT_ONCE:
                yield few
                few = []
        if few:
            yield few

    def _stretches(self, wanted: Iterable[_Wanted], waits: bool) -> Iterator[_Stretch]:
        for item in wanted:
            with self._disk(item):
                incoming = self._incoming(item, waits)
            waits = False
            if incoming is None:
                continue
            self._coming.add(incoming)
            size = item.file.size
            if size is None or not incoming.server.reads_ranges:
                yield _Stretch(incoming, 0, None)
                continue
            incoming.stretches = max(1, -(-size // STRETCH))
            for number in range(incoming.stretches):
                yield _Stretch(incoming, number * STRETCH, min((number + 1) * STRETCH, size))

    def _incoming(self, item: _Wanted, wait: bool) -> _Incoming | None:
        """What is to be brought of *item*; None when it is here, or is left for later."""
        expected = self.digests.find(item.file)
        if expected is not None and self._is_here(item, expected):
            self._have(item, expected)
            return None
        landing = self._landing(item, expected, wait)
        if landing is None:
            return None
        try:
            server, path = self.servers.at(item.file.url)
        except BaseException:
            landing.close()
            raise
        return _Incoming(item, expected, server, path, landing, 1)

    def _landing(self, item: _Wanted, expected: str | None, wait: bool) -> Landing | None:
        """Where *item* is to come; None when somebody else brings, or has brought it."""
        file = item.file
        if self.cache is None or file.size is None or not self.cache.takes(file.size):
            if item.target is None:
                return Nowhere()
            return Beside(item.target, executable=file.executable, own=self.own)
        claim = self.cache.claim(_claim_key(file, expected), wait=wait)
        if claim is None:
            self._later.append(item)
            return None
        landing = InCache(self.cache, claim, item.target, executable=file.executable, own=self.own)
        with ExitStack() as unless_it_comes:
            unless_it_comes.callback(landing.close)
            if claim.arrived is not None:
                self.digests.learn(file, claim.arrived)
                self._later.append(item)
                return None
            # Somebody may have brought it between the look and the claim.
            if expected is not None and self._is_here(item, expected):
                self._have(item, expected)
                return None
            unless_it_comes.pop_all()
        return landing

    def _is_here(self, item: _Wanted, expected: str) -> bool:
        """Whether *item* lies, or could be put, where it is wanted."""
        file, target = item.file, item.target
        if target is None:
            return True
        if self.cache is not None:
            size = file.size
            return size is not None and self.cache.give(
                expected, size, target, executable=file.executable, own=self.own
            )
        if not target.is_file() or target.is_symlink() or target.stat().st_size != file.size:
            return False
        is_executable = os.access(target, os.X_OK)
        return is_executable == file.executable and sha256_file(target) == expected

    def _receive(self, piece: list[_Stretch], checkpoint: Callable[[], None]) -> list[_Received]:
        """Bring a piece of the work."""
        checkpoint()
        if len(piece) == 1:
            return [(piece[0], self._receive_stretch(piece[0], checkpoint))]
        server = piece[0].incoming.server
        wanted = [(item.incoming.path, item.stop or 0, item.incoming.wanted.file.stamp) for item in piece]
        received: list[_Received] = []
        for stretch, data in zip(piece, server.read_small(wanted), strict=True):
            if isinstance(data, StoreError):  # alone it may come, if it failed in passing
                received.append((stretch, self._receive_stretch(stretch, checkpoint)))
                continue
            with self._disk(stretch.incoming.wanted, stretch.incoming.landing):
                _write(stretch.incoming.landing.descriptor, data, 0)
            self.advance(len(data))
            received.append((stretch, hashlib.sha256(data).hexdigest()))
        return received

    def _receive_stretch(self, stretch: _Stretch, checkpoint: Callable[[], None]) -> str | None:
        """Bring a stretch; its digest if it is all of the file."""
        incoming, stop = stretch.incoming, stretch.stop
        with self._disk(incoming.wanted, incoming.landing):
            if stop is None:
                return self._receive_whole(incoming)
            hashed = hashlib.sha256() if incoming.stretches == 1 else None
            offset, stamp = stretch.start, incoming.wanted.file.stamp
            with closing(
                blocks_of(incoming.server, incoming.path, offset, stop, stamp, self.pause)
            ) as blocks:
                for block in blocks:
                    checkpoint()
                    _write(incoming.landing.descriptor, block, offset)
                    if hashed is not None:
                        hashed.update(block)
                    offset += len(block)
                    self.advance(len(block))
            return None if hashed is None else hashed.hexdigest()

    def _receive_whole(self, incoming: _Incoming) -> str:
        """Bring a file as its driver does it; returns its digest."""
        landing, file = incoming.landing, incoming.wanted.file
        stamp = file.stamp if file.digest is None else None
        persistently(lambda: incoming.server.fetch(incoming.path, landing.path, stamp), self.pause)
        size = landing.path.stat().st_size
        if file.size not in (None, size):
            raise StoreError(
                f"{shown(file.url)} has {size} bytes instead of {file.size}; see whether it was changed"
            )
        self.advance(size)
        return sha256_file(landing.path)

    def _take(self, incoming: _Incoming, stretch: _Stretch, digest: str | None) -> None:
        """Go on with a stretch that came; with the last one the file gets to its place."""
        file, landing = incoming.wanted.file, incoming.landing
        with self._disk(incoming.wanted, landing):
            if digest is None:
                assert stretch.stop is not None
                for offset in range(stretch.start, stretch.stop, BLOCK):
                    size = min(BLOCK, stretch.stop - offset)
                    incoming.hashed.update(os.pread(landing.descriptor, size, offset))
            incoming.stretches -= 1
            if incoming.stretches:
                return
            digest = digest or incoming.hashed.hexdigest()
            if incoming.expected not in (None, digest):
                self.digests.learn(file, digest)
                raise StoreError(
                    f"{shown(file.url)} has SHA-256 {digest} instead of {incoming.expected}; it is damaged, "
                    "or was changed"
                )
            landing.settle(digest)
            self._coming.remove(incoming)
            landing.close()
        self.digests.learn(file, digest)
        incoming.wanted.digest = digest
        if time.monotonic() - self._published_at >= _PUBLISHED:
            self.digests.publish()
            self._published_at = time.monotonic()

    def _have(self, item: _Wanted, digest: str) -> None:
        item.digest = digest
        self.advance(item.file.size or 0)

    @contextmanager
    def _disk(self, item: _Wanted, landing: Landing | None = None) -> Iterator[None]:
        """Tell a cache that cannot do its work from a place to which nothing can be written."""
        try:
            yield
        except (OSError, StoreError) as error:
            reason = error.__cause__ if isinstance(error, StoreError) else error
            is_cache = self.cache is not None if landing is None else isinstance(landing, InCache)
            if is_cache and isinstance(reason, OSError) and (reason is error or reason.errno in _FULL):
                raise _CacheFailed(reason) from error
            if reason is not error:
                raise
            url = shown(item.file.url)
            raise StoreError(f"{url} cannot be put at {item.target}: {error}") from error


def _write(descriptor: int, block: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, block, offset)
    while written < len(block):
        written += os.pwrite(descriptor, memoryview(block)[written:], offset + written)


def _claim_key(file: RemoteFile, digest: str | None) -> str:
    """The same for whoever brings the same file; never twice where nobody can tell."""
    state = [digest] if digest else [file.service, file.url, file.size, file.stamp or uuid.uuid4().hex]
    return hashlib.sha256(json.dumps([*state, file.executable]).encode()).hexdigest()
