"""A local memory of digests, so that hashing what has not changed costs a stat.

A file is taken for unchanged when its size, its times of modification and of change, its inode and its
device are. Whole folders are remembered besides their files: by one stamp over the paths and states of all
of them. Losing the memory loses time, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import sha256_descriptor
from airflow_mlpipe.store.facts import Facts
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import EmptyFolder, Leaf, TreeFile

_KnownFile = tuple[str, str, str]  # path, stamp, digest

_RACY = 2_000_000_000
_TRIES = 3
_FILES_OF_A_FACT = 256
_RECORDS_AT_ONCE = 512
_STATE = struct.Struct("<QqqqQQ")
_FILE, _FILES, _TREE = "file", "files", "tree"


class HashCache:
    """Digests of files and folders by path and state, and other facts that are dear to derive.

    *path* is the database; None remembers little, and nothing beyond this object. *clock* gives nanoseconds
    since the epoch, of the same clock that stamps the files. *say* is told how far a file is that takes
    long. What was learnt is written in batches, at the latest by :meth:`close` or at the end of a ``with``
    block. For one thread; any number of processes.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], int] = time.time_ns,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.say = say
        self._clock = clock
        self._facts = Facts(path, clock)

    def __enter__(self) -> HashCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def file_digest(self, path: Path) -> str:
        """The SHA-256, in hex, of the bytes of the file *path*.

        Raises OSError when it cannot be read, StoreError when it keeps changing while it is read.
        """
        key = _key(path)
        started_at = self._clock()
        status = path.stat()
        fact = self._facts.find(_FILE, key)
        if fact is not None and fact.stamp == stamp_of(status):
            self._facts.renew(_FILE, fact)
            return fact.value
        progress = Progress(f"hashing {path.name}", self.say)
        progress.expect(status.st_size)
        digest, status = digest_at_rest(path, status, progress.advance)
        if _is_settled(status, started_at):
            self._facts.learn(_FILE, key, stamp_of(status), digest)
        return digest

    def tree(self, place: Path) -> TreeMemory:
        """What is remembered of the files at *place*, a folder or a pattern, for hashing them once now."""
        return TreeMemory(self._facts, _key(place), self._clock())

    def lookup(self, kind: str, key: str) -> str | None:
        """The value remembered for *key* among facts of *kind*, None when there is none."""
        fact = self._facts.find(_fact(kind), key.encode())
        if fact is None:
            return None
        self._facts.renew(_fact(kind), fact)
        return fact.value

    def remember(self, kind: str, key: str, value: str) -> None:
        """Remember *value* for *key*. The key must say all that the value depends on."""
        self._facts.learn(_fact(kind), key.encode(), "", value)

    def close(self) -> None:
        """Write what was learnt and let go of the database. The cache may be used again."""
        self._facts.close()


class TreeMemory:
    """What is remembered of the files at one place, and is learnt by hashing all of them once more.

    *key* stands for the place. The digest of the whole is remembered, and the digests of the files, a few
    hundred in one fact: that takes less time than a fact for each. *started_at* is when hashing began.
    """

    def __init__(self, facts: Facts, key: bytes, started_at: int) -> None:
        self._facts = facts
        self._key = key
        self._first, self._end = key + b"\0", key + b"\1"
        self._started_at = started_at
        self._known = self._remembered()
        self._next: _KnownFile | None = ("", "", "")
        self._stamp = TreeStamp()
        self._done = self._first
        self._learnt: list[_KnownFile] = []
        self._all_settled = True

    @property
    def knows_tree(self) -> bool:
        """Whether a digest of the whole is remembered, for whatever state."""
        return self._facts.find(_TREE, self._key) is not None

    def tree_digest(self, stamp: TreeStamp) -> str | None:
        """The digest of the whole in the state *stamp*."""
        fact = self._facts.find(_TREE, self._key)
        if fact is None or fact.stamp != stamp.hexdigest():
            return None
        if self._facts.renew(_TREE, fact):
            # The files will be needed when one of them changes.
            self._facts.renew_between(_FILES, self._first, self._end)
        return fact.value

    def file_digest(self, file: TreeFile) -> str | None:
        """The digest of *file* in the state that its status says; to be asked in order of paths."""
        while self._next is not None and self._next[0] < file.path:
            self._next = next(self._known, None)
        if self._next is None or self._next[0] != file.path or self._next[1] != stamp_of(file.status):
            return None
        return self._next[2]

    def learn(self, leaf: Leaf, digest: str) -> None:
        """Remember the *digest* of the next leaf, whose file had its status before and after it was read."""
        stamp = self._stamp.add(leaf)
        if isinstance(leaf, EmptyFolder):
            return
        if not _is_settled(leaf.status, self._started_at):
            self._all_settled = False
            return
        self._learnt.append((leaf.path, stamp, digest))
        if len(self._learnt) == _FILES_OF_A_FACT:
            self._keep_learnt(until=self._first + leaf.path.encode() + b"\0")

    def learn_tree(self, digest: str) -> None:
        """Remember the *digest* of all entries learnt, unless one of them may yet change unnoticed."""
        self._keep_learnt(until=self._end)
        if self._all_settled:
            self._facts.learn(_TREE, self._key, self._stamp.hexdigest(), digest)

    def _remembered(self) -> Iterator[_KnownFile]:
        for fact in self._facts.between(_FILES, self._first, self._end):
            yield from map(tuple, json.loads(fact.value))

    def _keep_learnt(self, until: bytes) -> None:
        """Remember the files learnt since the last time, in place of what was known up to *until*."""
        self._facts.forget(_FILES, self._done, until)
        if self._learnt:
            self._facts.learn(_FILES, self._first + self._learnt[0][0].encode(), "", json.dumps(self._learnt))
        self._learnt = []
        self._done = until


class TreeStamp:
    """A digest over the paths and states of the leaves of a folder, added in order of their paths."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._records: list[str] = []

    def add(self, leaf: Leaf) -> str:
        """Add a leaf; returns the state of its file, "" for an empty folder."""
        stamp = "" if isinstance(leaf, EmptyFolder) else stamp_of(leaf.status)
        self._records += leaf.path, stamp
        if len(self._records) == _RECORDS_AT_ONCE:
            self._digest_records()
        return stamp

    def hexdigest(self) -> str:
        """The stamp of all that was added."""
        self._digest_records()
        return self._digest.hexdigest()

    def _digest_records(self) -> None:
        # No path holds a null character, so that it can end one.
        self._digest.update("\0".join([*self._records, ""]).encode())
        self._records.clear()


def stamp_of(status: os.stat_result) -> str:
    """The state of a file."""
    state = (
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )
    try:
        return _STATE.pack(*state).hex()  # numbers in decimal take three times as long
    except struct.error:  # a time after the year 2262
        return repr(state)


def digest_at_rest(
    path: str | Path, status: os.stat_result, read: Callable[[int], None]
) -> tuple[str, os.stat_result]:
    """The SHA-256 of a file in hex, and the status that the file had before and after it was read.

    *status* is its status of a moment ago; *read* is told the size of each block. Raises OSError when the
    file cannot be read, StoreError when it keeps changing.
    """
    for _ in range(_TRIES):
        # Without a file object: making one takes as long as reading a small file.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            digest = sha256_descriptor(descriptor, read)
            # Of what was read, which another file may have replaced by now.
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if _same_state(status, after):
            return digest, status
        status = os.stat(path)  # noqa: PTH116 - a text, of which there may be a million
    raise StoreError(f"{path} changes while it is read; hash it when nothing writes to it any more")


def _same_state(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_size == other.st_size
        and one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
    )


def _is_settled(status: os.stat_result, started_at: int) -> bool:
    """Whether any change after *started_at* gives the file another time: clocks of files tick coarsely."""
    return started_at - max(status.st_mtime_ns, status.st_ctime_ns) >= _RACY


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps ".."


def _fact(kind: str) -> str:
    return f"fact:{kind}"
