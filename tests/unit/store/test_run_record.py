"""Records of task instances: written, found again by their ids, and strict about what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import run_record_key
from airflow_mlpipe.store.run_record import InputOrigin, RecordedReason, RunRecord, RunRecords

PRODUCER = ProducerReference(dag_id="d", run_id="r0", task_id="prepare", map_index=2)


def record(
    dag_id: str = "d", run_id: str = "r", task_id: str = "t", map_index: int = -1, **fields: Any
) -> RunRecord:
    values: dict[str, Any] = {
        "try_number": 1,
        "status": "succeeded",
        "action": "ran",
        "reasons": (RecordedReason(kind="changed", text="train.py changed"),),
        "fingerprint": "ab" * 32,
        "attempt": "t-1",
        "sealed": True,
        "compared_with": None,
        "producer": PRODUCER,
        "inputs": {
            "data": (InputOrigin(fingerprint="cd" * 32, output="o", digest="ef" * 32, producer=PRODUCER),)
        },
        "datasets": {"raw": {"data/raw.csv": "01" * 32}},
        "snapshot": None,
        "decided_at": 5.0,
        "finished_at": 7.0,
        "seconds": 1.5,
        "saved_seconds": None,
        "store": "file:///store",
    }
    return RunRecord(
        dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, **{**values, **fields}
    )


def test_what_was_written_is_read_again(datastore: Datastore) -> None:
    records = RunRecords(datastore)
    records.write(record())
    assert records.read("d", "r", "t") == record()
    assert records.read("d", "r", "t", 0) is None
    assert records.read("d", "r2", "t") is None


def test_a_later_record_of_a_task_instance_takes_the_place_of_the_earlier(datastore: Datastore) -> None:
    records = RunRecords(datastore)
    records.write(record(status="running", finished_at=None))
    records.write(record(status="failed"))
    assert [found.status for found in records.below()] == ["failed"]


def test_records_are_found_below_a_dag_a_run_and_a_task(datastore: Datastore) -> None:
    records = RunRecords(datastore)
    ids = [
        ("d", "r", "t", -1),
        ("d", "r", "u", 0),
        ("d", "r", "u", 1),
        ("d", "s", "t", -1),
        ("e", "r", "t", -1),
    ]
    for each in ids:
        records.write(record(*each))

    def below(*where: str) -> list[tuple[str, str, str, int]]:
        return sorted((one.dag_id, one.run_id, one.task_id, one.map_index) for one in records.below(*where))

    assert below() == ids
    assert below("d") == ids[:4]
    assert below("d", "r") == ids[:3]
    assert below("d", "r", "u") == ids[1:3]


@pytest.mark.parametrize("task_id", ["t", "group.t", "t/u", "t~", "ä" * 100])
def test_the_records_of_one_task_are_found_in_all_runs(datastore: Datastore, task_id: str) -> None:
    records = RunRecords(datastore)
    for run_id in ("r", "manual__2026-11-21T15:57:17+00:00", "~"):
        records.write(record(run_id=run_id, task_id=task_id))
        records.write(record(run_id=run_id, task_id=task_id, map_index=1))
        records.write(record(run_id=run_id, task_id=f"x{task_id}"))
    found = list(records.of_task("d", task_id))
    assert {one.run_id for one in found} == {"r", "manual__2026-11-21T15:57:17+00:00", "~"}
    assert {(one.task_id, one.map_index) for one in found} == {(task_id, -1)}
    assert {one.map_index for one in records.of_task("d", task_id, 1)} == {1}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema_version": 2}', b"\xff"])
def test_an_unreadable_record_is_an_error_by_name_and_passed_over_in_a_list(
    datastore: Datastore, data: bytes
) -> None:
    records = RunRecords(datastore)
    records.write(record())
    datastore.write(run_record_key("d", "broken", "t"), data)
    with pytest.raises(
        DocumentError, match=r"the run record mlpipe/v1/runs/d/broken/t/-1\.json cannot be read"
    ):
        records.read("d", "broken", "t")
    assert [found.run_id for found in records.of_task("d", "t")] == ["r"]


def test_unknown_fields_are_refused(datastore: Datastore) -> None:
    key = run_record_key("d", "r", "t")
    datastore.write(key, record().model_dump_json().replace('"attempt"', '"more":1,"attempt"').encode())
    with pytest.raises(DocumentError, match="more"):
        RunRecords(datastore).read("d", "r", "t")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "ran: train.py changed"),
        ({"status": "failed"}, "ran and failed: train.py changed"),
        ({"status": "running"}, "began to run, of which no end is recorded: train.py changed"),
        ({"action": "reused"}, "reused train.py changed"),
    ],
)
def test_a_record_says_in_a_sentence_what_happened(fields: dict[str, Any], sentence: str) -> None:
    assert record(**fields).sentence() == sentence


def test_a_task_instance_is_named_with_its_map_index() -> None:
    assert (record().step, record(map_index=3).step) == ("d/r/t", "d/r/t[3]")


def test_a_record_was_last_used_when_its_step_ended_else_when_it_began() -> None:
    assert (record().last_used, record(finished_at=None).last_used) == (7.0, 5.0)
