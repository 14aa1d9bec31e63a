"""A local memory of facts that are dear to find and cheap to lose.

SQLite, shared by all processes of a machine. A database that cannot be used is reported once in the log, and
from then on little is known.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_DAY = 86_400 * 1_000_000_000
_UNUSED = 60 * _DAY
_BATCH_FACTS, _BATCH_CHARACTERS = 1000, 1 << 20
_PAGE = 16
_PRUNED = ("cache", b"pruned")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    kind TEXT NOT NULL, key BLOB NOT NULL, stamp TEXT NOT NULL, value TEXT NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""


class Fact(NamedTuple):
    """*value* holds for *key* as long as its stamp is *stamp*; last used at *used*, in nanoseconds."""

    key: bytes
    stamp: str
    value: str
    used: int


class Facts:
    """One fact for each kind and key, the latest one learnt.

    *path* is the database; without one, no more than the latest thousand facts are known. *clock* gives
    nanoseconds since the epoch. What was learnt is written in batches, at the latest by :meth:`close`. What
    nobody used for sixty days is forgotten. For one thread; any number of processes.
    """

    def __init__(self, path: Path | None, clock: Callable[[], int]) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._usable = path is not None
        self._unwritten: dict[tuple[str, bytes], Fact] = {}
        self._characters = 0
        self._outdated: list[tuple[str, bytes, bytes]] = []

    def find(self, kind: str, key: bytes) -> Fact | None:
        """The fact of *kind* about *key*."""
        if (learnt := self._unwritten.get((kind, key))) is not None:
            return learnt
        query = "SELECT key, stamp, value, used FROM facts WHERE kind = ? AND key = ?"
        return next(iter(self._select(query, kind, key)), None)

    def between(self, kind: str, start: bytes, end: bytes) -> Iterator[Fact]:
        """The written facts of *kind* whose keys lie between *start* and *end*, in order of their keys.

        They are read a few at a time; of changes meanwhile, those behind the reader do not matter to it.
        """
        self._flush()
        query = (
            "SELECT key, stamp, value, used FROM facts WHERE kind = ? AND key > ? AND key < ? "
            "ORDER BY key LIMIT ?"
        )
        while page := self._select(query, kind, start, end, _PAGE):
            yield from page
            start = page[-1].key

    def learn(self, kind: str, key: bytes, stamp: str, value: str) -> None:
        """Remember that *value* holds for *key* at *stamp*, in place of what was known."""
        self._unwritten[kind, key] = Fact(key, stamp, value, self._clock())
        self._characters += len(value)
        if len(self._unwritten) >= _BATCH_FACTS or self._characters >= _BATCH_CHARACTERS:
            self._flush()
            if not self._usable:
                self._forget_unwritten()

    def forget(self, kind: str, start: bytes, end: bytes) -> None:
        """Forget the written facts of *kind* whose keys lie between *start* and *end*."""
        self._outdated.append((kind, start, end))

    def renew(self, kind: str, fact: Fact) -> bool:
        """Note that *fact* was used; whether that had not been noted for a day."""
        if self._clock() - fact.used <= _DAY:
            return False
        self.learn(kind, fact.key, fact.stamp, fact.value)
        return True

    def renew_between(self, kind: str, start: bytes, end: bytes) -> None:
        """Note that the facts of *kind* whose keys lie between *start* and *end* were used."""
        values = (self._clock(), kind, start, end)
        update = "UPDATE facts SET used = ? WHERE kind = ? AND key > ? AND key < ?"
        self._write(lambda connection: connection.execute(update, values))

    def close(self) -> None:
        """Write what was learnt and let go of the database. The facts may be used again."""
        self._flush()
        self._disconnect()

    def _select(self, query: str, *values: object) -> list[Fact]:
        try:
            connection = self._connect()
            if connection is None:
                return []
            return [Fact(*row) for row in connection.execute(query, values)]
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return []

    def _flush(self) -> None:
        if self._usable and (self._unwritten or self._outdated) and self._write(self._write_learnt):
            self._forget_unwritten()

    def _forget_unwritten(self) -> None:
        self._unwritten.clear()
        self._outdated.clear()
        self._characters = 0

    def _write_learnt(self, connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM facts WHERE kind = ? AND key > ? AND key < ?", self._outdated)
        rows = [(kind, *fact) for (kind, _), fact in self._unwritten.items()]
        connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)
        self._prune(connection)

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> bool:
        """Make a change in one short transaction, so that others hardly wait; whether it was made."""
        try:
            connection = self._connect()
            if connection is None:
                return False
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                change(connection)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return False
        return True

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
            # A lost last transaction is a lost fact; in WAL mode the database stays whole without more.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        log.warning(
            "The hash cache %s cannot be used (%s); hashing instead. Delete it, or make it writable.",
            self._path,
            error,
        )
        self._disconnect()
