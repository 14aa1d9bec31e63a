from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import journal_key, values_journal_key


def test_fingerprints_are_told_newest_first_and_once(datastore: Datastore) -> None:
    journal = Journal(datastore)
    assert journal.recent("dag", "task", -1) == ()
    for fingerprint in ("a", "b", "b", "c", "a"):
        journal.record("dag", "task", -1, "run", fingerprint)
    assert journal.recent("dag", "task", -1) == ("a", "c", "b")


def test_twenty_are_kept(datastore: Datastore) -> None:
    journal = Journal(datastore)
    for number in range(25):
        journal.record("dag", "task", -1, "run", f"{number}")
    assert journal.recent("dag", "task") == tuple(f"{number}" for number in range(24, 4, -1))


def test_tasks_and_map_indexes_have_journals_of_their_own(datastore: Datastore) -> None:
    journal = Journal(datastore)
    journal.record("dag", "task", 0, "run", "a")
    journal.record("dag", "task", 1, "run", "b")
    assert journal.recent("dag", "task", 0) == ("a",)
    assert journal.recent("dag", "task", 1) == ("b",)
    assert journal.recent("dag", "task", -1) == journal.recent("dag", "other", 0) == ()


def test_of_mapped_instances_fingerprints_are_found_by_their_values_at_whatever_index(
    datastore: Datastore,
) -> None:
    journal, values, others = Journal(datastore), "ab" * 32, "cd" * 32
    journal.record_values("dag", "task", 0, "run 1", "a", values)
    journal.record_values("dag", "task", 7, "run 2", "b", values)
    journal.record_values("dag", "task", 0, "run 2", "c", others)
    assert journal.with_values("dag", "task", values) == ("b", "a")
    assert journal.with_values("dag", "task", others) == ("c",)
    assert journal.with_values("dag", "other", values) == journal.recent("dag", "task", 0) == ()


def test_a_fingerprint_that_is_known_for_its_values_is_not_written_again(datastore: Datastore) -> None:
    journal, values = Journal(datastore), "ab" * 32
    for fingerprint in ("a", "b"):
        journal.record_values("dag", "task", 0, "run 1", fingerprint, values)
    before = datastore.read(values_journal_key("dag", "task", values))
    journal.record_values("dag", "task", 0, "run 2", "a", values)
    assert datastore.read(values_journal_key("dag", "task", values)) == before


def test_the_document_is_pinned(datastore: Datastore, clock: Any) -> None:
    Journal(datastore, clock).record("dag", "task", 2, "run", "a")
    assert json.loads(datastore.read(journal_key("dag", "task", 2)) or b"") == {
        "schema_version": 1,
        "entries": [{"fingerprint": "a", "map_index": 2, "at": 1_000_000.0, "run_id": "run"}],
    }


def test_saying_the_same_again_writes_nothing(datastore: Datastore, clock: Any) -> None:
    journal = Journal(datastore, clock)
    journal.record("dag", "task", -1, "run 1", "a")
    before = datastore.read(journal_key("dag", "task"))
    clock.now += 1
    journal.record("dag", "task", -1, "run 2", "a")
    assert datastore.read(journal_key("dag", "task")) == before


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schema_version": 2, "entries": []}', b'{"entries": [1]}'])
def test_an_unreadable_journal_is_empty(datastore: Datastore, data: bytes) -> None:
    datastore.write(journal_key("dag", "task"), data)
    journal = Journal(datastore)
    assert journal.recent("dag", "task") == ()
    journal.record("dag", "task", -1, "run", "a")
    assert journal.recent("dag", "task") == ("a",)


def test_the_run_of_a_fingerprint_is_the_one_that_came_to_have_it(datastore: Datastore) -> None:
    journal = Journal(datastore)
    for run_id, fingerprint in (("r1", "a"), ("r2", "a"), ("r3", "b")):
        journal.record("d", "t", -1, run_id, fingerprint)
    assert journal.run_of("d", "t", -1, "a") == "r1"
    assert journal.run_of("d", "t", -1, "b") == "r3"
    assert journal.run_of("d", "t", -1, "c") is None
    assert journal.run_of("d", "t", 0, "a") is None
