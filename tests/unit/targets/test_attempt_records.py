from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.records import Carriage, EarlierRuns, LaunchSpec, RunInfo
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import AttemptDirectory

RUN_INFO = RunInfo("train-1", "digits", "digits", "manual-1", "train", -1, 1)
SPEC = LaunchSpec("train-1", "f" * 64, ["true"], "/mlpipe/attempt", "/mlpipe/code", RUN_INFO)
PREFIX = attempt_prefix("train-1")


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore.open(f"memory://{tmp_path.name}")


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDirectory:
    (tmp_path / "attempt").mkdir()
    return AttemptDirectory(tmp_path / "attempt", "train-1")


def test_what_is_sent_another_worker_finds(
    store: Datastore, attempt: AttemptDirectory, tmp_path: Path
) -> None:
    records = AttemptRecords(store)
    assert not records.has_spec(attempt)
    attempt.write_spec(SPEC)
    attempt.write_earlier_runs(EarlierRuns([]))
    records.send(attempt, Carriage(records.url("train-1"), "", ""))
    assert records.has_spec(attempt)
    assert {file.key.removeprefix(f"{PREFIX}/") for file in store.files(PREFIX)} == {
        *("carriage.json", "children.json", "spec.json")
    }
    elsewhere = AttemptDirectory(tmp_path / "elsewhere", "train-1")
    records.fetch(elsewhere)
    assert elsewhere.read_spec() == SPEC


def test_a_result_that_was_fetched_has_everything_before_it(
    store: Datastore, attempt: AttemptDirectory
) -> None:
    records = AttemptRecords(store)
    assert not records.has_result(attempt)
    store.write(f"{PREFIX}/metrics.jsonl", b"early")

    class Late(Datastore):
        """Whose attempt ends while it is read."""

        def read(self, key: str) -> bytes | None:
            found = store.read(key)
            for name in ("metrics.jsonl", "result.json"):
                store.write(f"{PREFIX}/{name}", b"late")
            return found

    AttemptRecords(Late(store._folder)).fetch(attempt)
    assert not attempt.result_path.exists()
    records.fetch(attempt)
    assert records.has_result(attempt)
    assert attempt.result_path.read_bytes() == attempt.metrics_path.read_bytes() == b"late"


def test_the_records_of_an_attempt_that_is_over_are_brought_once(
    store: Datastore, attempt: AttemptDirectory
) -> None:
    read: list[str] = []

    class Counting(Datastore):
        def read(self, key: str) -> bytes | None:
            read.append(key.removeprefix(f"{PREFIX}/"))
            return store.read(key)

    records = AttemptRecords(Counting(store._folder))
    store.write(f"{PREFIX}/result.json", b"first")
    records.fetch(attempt)
    assert "metrics.jsonl" in read
    read.clear()
    records.fetch(attempt)
    assert read == ["result.json"]
    # An attempt that began anew has other records.
    store.write(f"{PREFIX}/result.json", b"second")
    store.write(f"{PREFIX}/metrics.jsonl", b"second")
    records.fetch(attempt)
    assert attempt.result_path.read_bytes() == attempt.metrics_path.read_bytes() == b"second"


def test_a_datastore_on_a_disk_has_the_records_at_their_place(tmp_path: Path) -> None:
    store = Datastore.open(str(tmp_path))
    path = store.local_path(PREFIX)
    assert path is not None
    attempt = AttemptDirectory(path, "train-1")
    attempt.path.mkdir(parents=True)
    attempt.write_spec(SPEC)
    before = attempt.spec_path.stat()
    AttemptRecords(store).send(attempt)
    AttemptRecords(store).fetch(attempt)
    assert attempt.spec_path.stat() == before
