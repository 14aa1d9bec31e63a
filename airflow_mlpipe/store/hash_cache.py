"""A local memory of file digests, so that hashing what has not changed costs a stat.

SQLite, shared by all processes of a machine. Losing it loses time, nothing else: a database that cannot
be used is reported once in the log, and files are hashed instead.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.progress import Progress

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_RACY = 2 * _SECOND
_UNUSED = 60 * _DAY
_BATCH = 1000
_TRIES = 3
_FILE = "file"
_PRUNED = ("cache", b"pruned")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    kind TEXT NOT NULL, key BLOB NOT NULL, stamp TEXT NOT NULL, value TEXT NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""


class HashCache:
    """Digests of files by path and state, and other facts that are dear to derive.

    *path* is the database; None remembers nothing beyond this object. *clock* gives nanoseconds since the
    epoch, of the same clock that stamps the files. *say* is told how far a file is that takes long. What was
    learnt is written in batches, at the latest by
    :meth:`close` or at the end of a ``with`` block. For one thread; any number of processes.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], int] = time.time_ns,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._say = say
        self._connection: sqlite3.Connection | None = None
        self._usable = path is not None
        self._learnt: dict[tuple[str, bytes], tuple[str, str]] = {}
        self._unwritten: dict[tuple[str, bytes], int] = {}

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
        key = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps ".."
        for _ in range(_TRIES):
            before = path.stat()
            if (known := self._recall(_FILE, key, _stamp(before))) is not None:
                return known
            started_at = self._clock()
            progress = Progress(f"hashing {path.name}", self._say)
            progress.expect(before.st_size)
            digest = sha256_file(path, progress.advance)
            if _stamp(path.stat()) == _stamp(before):
                # A file that changed a moment ago may change again within the same tick of its clock.
                if started_at - max(before.st_mtime_ns, before.st_ctime_ns) >= _RACY:
                    self._learn(_FILE, key, _stamp(before), digest)
                return digest
        raise StoreError(f"{path} changes while it is read; hash it when nothing writes to it any more")

    def lookup(self, kind: str, key: str) -> str | None:
        """The value remembered for *key* among facts of *kind*, None when there is none."""
        return self._recall(_fact(kind), key.encode(), "")

    def remember(self, kind: str, key: str, value: str) -> None:
        """Remember *value* for *key*. The key must say all that the value depends on."""
        self._learn(_fact(kind), key.encode(), "", value)

    def close(self) -> None:
        """Write what was learnt and let go of the database. The cache may be used again."""
        self._flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _recall(self, kind: str, key: bytes, stamp: str) -> str | None:
        if (learnt := self._learnt.get((kind, key))) is not None:
            return learnt[1] if learnt[0] == stamp else None
        row = self._select(kind, key)
        if row is None or row[0] != stamp:
            return None
        value, used = str(row[1]), int(row[2])
        if self._clock() - used > _DAY:
            self._learn(kind, key, stamp, value)
        return value

    def _learn(self, kind: str, key: bytes, stamp: str, value: str) -> None:
        self._learnt[kind, key] = (stamp, value)
        self._unwritten[kind, key] = self._clock()
        if len(self._unwritten) >= _BATCH:
            self._flush()

    def _select(self, kind: str, key: bytes) -> tuple[str, str, int] | None:
        try:
            connection = self._connect()
            if connection is None:
                return None
            query = "SELECT stamp, value, used FROM facts WHERE kind = ? AND key = ?"
            row: tuple[str, str, int] | None = connection.execute(query, (kind, key)).fetchone()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return None
        return row

    def _flush(self) -> None:
        """One short transaction, so that other processes hardly wait."""
        if not self._unwritten:
            return
        rows = [(*name, *self._learnt[name], used) for name, used in self._unwritten.items()]
        self._unwritten.clear()
        try:
            connection = self._connect()
            if connection is None:
                return
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)
                self._prune(connection)
            self._learnt.clear()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _prune(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        query = "SELECT used FROM facts WHERE kind = ? AND key = ?"
        row = connection.execute(query, _PRUNED).fetchone()
        if row is not None and now - row[0] < _DAY:
            return
        connection.execute("DELETE FROM facts WHERE used < ?", (now - _UNUSED,))
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, '', '', ?)", (*_PRUNED, now))

    def _connect(self) -> sqlite3.Connection | None:
        if self._connection is None and self._usable and self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=10.0, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            # A lost last transaction is a lost digest; in WAL mode the database stays whole without more.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        log.warning(
            "The hash cache %s cannot be used (%s); hashing instead. Delete it, or make it writable.",
            self._path,
            error,
        )
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _fact(kind: str) -> str:
    return f"fact:{kind}"


def _stamp(status: os.stat_result) -> str:
    """The state of a file; as text, because an inode number may exceed SQLite's integers."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}:{status.st_dev}"
