"""Remote inputs held against what was fingerprinted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mlpipe.model.dataset import FileDataset
from airflow_mlpipe.model.inputs import AccessMode
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.pipeline.intake import Intake
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import output_key
from tests.services import ObjectStore
from tests.unit.pipeline.remote_worker import Worker, remote_worker


@pytest.fixture
def worker(s3: ObjectStore, tmp_path: Path) -> Iterator[Worker]:
    with remote_worker(s3, tmp_path) as worker:
        yield worker


@pytest.fixture
def made(worker: Worker, tmp_path: Path) -> PipelineDataReference:
    """A sealed output of two files."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    (folder / "b").write_bytes(b"b")
    return worker.sealed(folder)


def intake(worker: Worker, *bound: BoundInput, inputs: Path | None = None) -> Intake:
    binding, traces = Binding(inputs={item.name: item for item in bound}), Traces(inputs or worker.attempt())
    return Intake(binding, worker.finder, HashCache(None), worker.stores, traces, "dag/run/task")


def output(worker: Worker, reference: PipelineDataReference, mode: AccessMode) -> BoundInput:
    return BoundInput("made", mode, worker.finder.reference(reference))


def dataset(worker: Worker, url: str) -> BoundInput:
    return BoundInput("raw", "mount", worker.dataset(url), dataset=FileDataset(paths=(url,)))


def change(worker: Worker, path: str, content: bytes) -> None:
    worker.store.write(f"{output_key('attempt-1', 'made')}/{path}", content)


def is_in_use(worker: Worker, reference: PipelineDataReference) -> bool:
    return Invalidations(worker.store).current(reference.fingerprint) is None


def test_a_remote_dataset_that_changed_or_vanished_is_told(worker: Worker) -> None:
    bound = dataset(worker, worker.put(a=b"a", b=b"b"))
    assert intake(worker, bound).differences() == []
    worker.put(a=b"A")
    assert intake(worker, bound).differences() == ["input raw was changed since it was hashed"]
    worker.bucket.filesystem().rm(f"{worker.bucket.bucket}/raw", recursive=True)
    assert intake(worker, bound).differences() == ["input raw was changed since it was hashed"]


@pytest.mark.parametrize(
    ("mode", "told"),
    [("download", []), ("mount", ["input raw was written into while the step ran"])],
)
def test_a_step_may_change_its_own_copy_and_not_what_it_shares(
    worker: Worker, mode: AccessMode, told: list[str]
) -> None:
    bound = replace(dataset(worker, worker.put(a=b"a")), mode=mode)
    inputs = worker.attempt()
    (path,) = worker.stage(bound.source, mode, inputs=inputs)
    assert intake(worker, bound, inputs=inputs).differences() == []
    Path(path, "a").chmod(0o644)
    Path(path, "a").write_bytes(b"A")
    assert intake(worker, bound, inputs=inputs).differences() == told


@pytest.mark.parametrize("damage", ["is cut", "is missing"])
def test_an_output_that_a_script_opens_by_itself_must_be_there_with_its_sizes(
    worker: Worker, made: PipelineDataReference, damage: str
) -> None:
    assert intake(worker, output(worker, made, "direct")).differences() == []
    if damage == "is cut":
        change(worker, "a", b"")
    else:
        worker.store.delete(f"{output_key('attempt-1', 'made')}/a")
    assert intake(worker, output(worker, made, "mount")).differences() == []  # it is compared when it comes
    (sentence,) = intake(worker, output(worker, made, "direct")).differences()
    assert sentence == "input made is not what its step had sealed; the next run makes it again"
    assert not is_in_use(worker, made)


def test_an_output_that_could_not_be_fetched_is_taken_out_of_use_only_if_it_is_damaged(
    worker: Worker, made: PipelineDataReference
) -> None:
    step = intake(worker, output(worker, made, "mount"))
    assert step.damage("made") is None
    assert is_in_use(worker, made)
    change(worker, "a", b"A")
    assert step.damage("made") == "input made is not what its step had sealed; the next run makes it again"
    assert not is_in_use(worker, made)
