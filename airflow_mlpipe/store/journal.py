"""The latest fingerprints of each task, to answer "what changed since last time"."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import journal_key, values_journal_key

_KEPT = 20


class JournalEntry(BaseModel):
    """One fingerprint that a task had; *at* is in seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    fingerprint: str
    map_index: int
    at: float
    run_id: str


class JournalDocument(BaseModel):
    """What is stored for one task and map index, or for some values: *entries*, newest first, each once."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    entries: tuple[JournalEntry, ...] = ()


class Journal:
    """Best effort, since it only serves explanations: an update may be lost, and what is unreadable is empty.

    *clock* gives seconds since the epoch. Raises StoreError when the store cannot be reached.
    """

    def __init__(self, datastore: Datastore, clock: Callable[[], float] = time.time) -> None:
        self._datastore = datastore
        self._clock = clock

    def recent(self, dag_id: str, task_id: str, map_index: int = -1) -> tuple[str, ...]:
        """The fingerprints that the task had, newest first, at most 20."""
        return tuple(entry.fingerprint for entry in self._entries(journal_key(dag_id, task_id, map_index)))

    def run_of(self, dag_id: str, task_id: str, map_index: int, fingerprint: str) -> str | None:
        """The run in which the task came to have *fingerprint*, None when it is not among the latest 20."""
        entries = self._entries(journal_key(dag_id, task_id, map_index))
        return next((entry.run_id for entry in entries if entry.fingerprint == fingerprint), None)

    def record(self, dag_id: str, task_id: str, map_index: int, run_id: str, fingerprint: str) -> None:
        """Put *fingerprint* first; nothing is written when it is already."""
        key = journal_key(dag_id, task_id, map_index)
        earlier = self._entries(key)
        if not earlier or earlier[0].fingerprint != fingerprint:
            self._put_first(key, earlier, fingerprint, map_index, run_id)

    def with_values(self, dag_id: str, task_id: str, values: str) -> tuple[str, ...]:
        """Fingerprints that instances of a mapped task had, whatever their index, newest first.

        Those that had the *values* with this digest are among them; so may be a few that had others.
        """
        entries = self._entries(values_journal_key(dag_id, task_id, values))
        return tuple(entry.fingerprint for entry in entries)

    def record_values(
        self, dag_id: str, task_id: str, map_index: int, run_id: str, fingerprint: str, values: str
    ) -> None:
        """Keep *fingerprint* for the *values* with this digest; nothing is written when it is there."""
        key = values_journal_key(dag_id, task_id, values)
        earlier = self._entries(key)
        if all(entry.fingerprint != fingerprint for entry in earlier):
            self._put_first(key, earlier, fingerprint, map_index, run_id)

    def _put_first(
        self, key: str, earlier: tuple[JournalEntry, ...], fingerprint: str, map_index: int, run_id: str
    ) -> None:
        newest = JournalEntry(fingerprint=fingerprint, map_index=map_index, at=self._clock(), run_id=run_id)
        others = (entry for entry in earlier if entry.fingerprint != fingerprint)
        document = JournalDocument(entries=(newest, *others)[:_KEPT])
        self._datastore.write(key, document.model_dump_json().encode() + b"\n")

    def _entries(self, key: str) -> tuple[JournalEntry, ...]:
        data = self._datastore.read(key)
        if data is None:
            return ()
        try:
            return JournalDocument.model_validate_json(data).entries
        except ValidationError:
            return ()
