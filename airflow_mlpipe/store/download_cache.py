"""Files that came from servers, kept on this machine by their digests.

``files/<2 hex>/<digest>`` is a file, ``<digest>.x`` an executable one. ``arriving/`` holds files on their
way, each locked by whoever brings it: the file is its own lock, so that a process that was killed leaves
nothing that would have to be unlocked.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from airflow_mlpipe.store.atomic import temporary_beside
from airflow_mlpipe.store.cloning import clone
from airflow_mlpipe.store.digest import sha256_descriptor

log = logging.getLogger(__name__)

# When each file here was changed last, as its time says. Who writes into one gives it another.
_UNTOUCHED = 946_684_800 * 1_000_000_000

# How much comes in before the limit is looked at again, as a part of it.
_SLACK = 20


class DownloadCache:
    """Downloaded files by SHA-256 and executable bit, below *folder*, of *limit* bytes together.

    Files in it are read-only, and others are given hard links to them. One that somebody wrote into is
    noticed and dropped before it is given out. When a twentieth of the limit has come in, and by `trim`,
    those go that were not used for longest, until the rest is within the limit; who was given one keeps it.
    *clock* gives nanoseconds since the epoch; *link* makes a hard link.

    For any number of threads and processes; one that is killed leaves nothing partial. Methods raise OSError.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        *,
        clock: Callable[[], int] = time.time_ns,
        link: Callable[[Path, Path], None] = os.link,
    ) -> None:
        self._files = folder / "files"
        self._arriving = folder / "arriving"
        self._limit = limit
        self._clock = clock
        self._link = link
        self._grown = 0

    def takes(self, size: int) -> bool:
        """Whether a file of *size* bytes may be kept."""
        return size <= self._limit

    def give(self, digest: str, size: int, target: Path, *, executable: bool, own: bool) -> bool:
        """Put the file with *digest*, of *size* bytes, at *target*; False when it is not here.

        With *own* it is a writable copy, else it is read-only. A file at *target* is replaced.
        """
        entry = self._entry(digest, executable)
        try:
            if not _is_untouched(entry.lstat(), size):
                log.warning("The cached download %s was written into; it is dropped", entry)
                entry.unlink()
                return False
            os.utime(entry, ns=(self._clock(), _UNTOUCHED))
            self._put(entry, target, own)
        except FileNotFoundError:  # it never was here, or it was dropped a moment ago
            return False
        return True

    def claim(self, key: str, *, wait: bool) -> Claim | None:
        """The right to bring the file that *key*, 64 hexadecimal digits, stands for.

        While somebody else has it, wait for that to end, or return None.
        """
        self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._arriving / key
        while True:
            descriptor = _opened(path)
            claim = Claim(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            if _is_at(path, descriptor):
                if _is_new(descriptor):
                    return claim
                # A killed process left it, and may have given it to somebody: so it is not emptied.
                claim.close()
                continue
            # Whoever had it brought it, or gave up: then it is to be claimed anew.
            claim.arrived = _digest_of_settled(descriptor)
            if claim.arrived is not None:
                return claim
            os.close(descriptor)

    def settle(self, claim: Claim, digest: str, target: Path | None, *, executable: bool, own: bool) -> None:
        """Keep the claimed file, which is complete and has *digest*; give it to *target* as :meth:`give`."""
        status = os.fstat(claim.descriptor)
        mode = status.st_mode & 0o444
        os.fchmod(claim.descriptor, mode | (mode & 0o444) >> 2 if executable else mode)
        os.utime(claim.descriptor, ns=(self._clock(), _UNTOUCHED))
        # In this order nobody can drop it before it is given.
        if target is not None:
            self._put(claim.path, target, own)
        entry = self._entry(digest, executable)
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        claim.path.replace(entry)
        self._grown += status.st_size
        if self._grown * _SLACK > self._limit:
            self.trim()

    def trim(self) -> None:
        """Drop what was not used for longest, until the rest is within the limit.

        What killed processes left on its way goes, too.
        """
        self._drop_until(self._limit)

    def empty(self) -> None:
        """Drop everything; who was given a file keeps it."""
        self._drop_until(0)

    def _drop_until(self, limit: int) -> None:
        self._grown = 0
        entries = sorted(self._kept())
        size = sum(entry.size for entry in entries)
        for entry in entries:
            if size <= limit:
                break
            entry.path.unlink(missing_ok=True)
            size -= entry.size
        self._forget_abandoned()

    def _kept(self) -> Iterator[_Entry]:
        for folder in _listed(self._files):
            for found in _listed(Path(folder.path)):
                with suppress(FileNotFoundError):
                    status = found.stat(follow_symlinks=False)
                    yield _Entry(status.st_atime_ns, status.st_size, Path(found.path))

    def _forget_abandoned(self) -> None:
        for found in _listed(self._arriving):
            if (claim := self.claim(found.name, wait=False)) is not None:
                claim.close()

    def _entry(self, digest: str, executable: bool) -> Path:
        return self._files / digest[:2] / f"{digest}{'.x' if executable else ''}"

    def _put(self, source: Path, target: Path, own: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not own:
            try:
                self._link(source, target)
                return
            except FileNotFoundError:
                raise
            except OSError:  # something is there, or the disk knows no hard links, or too many of this one
                pass
        with temporary_beside(target) as temporary:
            if own or not self._links(source, temporary):
                clone(source, temporary)
                mode = stat.S_IMODE(temporary.stat().st_mode)
                if source.stat().st_mode & stat.S_IXUSR:
                    mode |= (mode & 0o444) >> 2
                temporary.chmod(mode if own else mode & 0o555)
            temporary.replace(target)

    def _links(self, source: Path, target: Path) -> bool:
        try:
            self._link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            return False
        return True


class Claim:
    """A file on its way into the cache, to be written to *descriptor*, or to *path* without replacing it.

    ``arrived`` is the digest of the file when somebody else brought it meanwhile.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.arrived: str | None = None

    def close(self) -> None:
        """Give the claim back; a file that was not settled is gone."""
        if _is_at(self.path, self.descriptor):
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class _Entry(NamedTuple):
    used_at: int
    size: int
    path: Path


def is_untouched(path: Path) -> bool:
    """Whether the file at *path*, which the cache gave out read-only, is as it was given."""
    status = path.lstat()
    return _is_untouched(status, status.st_size)


def _is_untouched(status: os.stat_result, size: int) -> bool:
    return status.st_mtime_ns == _UNTOUCHED and status.st_size == size and not status.st_mode & 0o222


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether *path* still names the open file."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # complete and read-only, and on its way to its place as a rule
        return os.open(path, os.O_RDONLY)


def _is_new(descriptor: int) -> bool:
    """Whether nobody has written to an open file that is on its way."""
    status = os.fstat(descriptor)
    return status.st_size == 0 and bool(status.st_mode & 0o200)


def _digest_of_settled(descriptor: int) -> str | None:
    """The SHA-256 of an open file if it was settled."""
    status = os.fstat(descriptor)
    if not _is_untouched(status, status.st_size):
        return None
    os.lseek(descriptor, 0, os.SEEK_SET)
    return sha256_descriptor(descriptor, lambda size: None)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return list(scan)
    except FileNotFoundError:
        return []
