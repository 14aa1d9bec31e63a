"""Who makes what when several want it, and what happens to the work of a worker that died."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.records import LaunchSpec
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, lease_key, manifest_key
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.targets.contract import AttemptDirectory
from airflow_mlpipe.targets.local import LocalDriver
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle
from tests.airflow.harness import DagFiles, rewrite
from tools.lone_step import LoneStep

pytestmark = pytest.mark.airflow

LONG_AGO = 3600.0
SOMEBODY = "other_dag/other_run/other_task"


@pytest.fixture
def made(dags: DagFiles, tmp_path: Path) -> DagFiles:
    """One step that counts its runs outside, and waits while there is a file ``wait``."""
    dags.script(
        "make.py",
        f"""
        import os, sys, time
        with open({str(tmp_path / "runs")!r}, "a") as runs:
            runs.write("x")
        print("begun", flush=True)
        while os.path.exists({str(tmp_path / "wait")!r}):
            time.sleep(0.02)
        open(sys.argv[1], "w").write("made")
    """,
    )
    write_step(dags)
    return dags


def write_step(dags: DagFiles, keywords: str = 'mode="poke", poke_interval=0.1') -> None:
    dags.dag(f'step("make", PipelineData("made"), {keywords})')


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], int]:
    """How often the script has begun."""
    return lambda: len((tmp_path / "runs").read_text())


def unseal(dags: DagFiles) -> tuple[str, str]:
    """Run the step, and go back to the moment before it was sealed: its fingerprint and its attempt."""
    run = dags.run()
    dags.manifest_path(run, "make").unlink()
    return run.decision("make")["fingerprint"], run.decision("make")["attempt"]


def lease(dags: DagFiles, fingerprint: str, attempt: str, *, age: float = 0.0, skew: float = 0.0) -> Lease:
    """A lease that somebody else took *age* seconds ago, whose clock is wrong by *skew*."""
    leases = Leases(dags.datastore, clock=lambda: time.time() + skew)
    held = leases.acquire(fingerprint, SOMEBODY, attempt)
    assert held is not None
    written = time.time() - age
    os.utime(dags.store / lease_key(fingerprint), (written, written))
    return held


def test_the_finished_work_of_a_worker_that_died_before_sealing_is_taken_over(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    fingerprint, attempt = unseal(made)
    lease(made, fingerprint, attempt, age=LONG_AGO)
    run = made.run()
    assert f"Attempt {attempt} of the same step has finished: taking over its outputs" in run.text
    assert run.decision("make")["attempt"] == attempt
    assert run.read("make", "made") == "made"
    assert runs() == 1
    assert made.run().actions == {"make": "reused"}


def test_the_work_of_the_last_but_one_of_two_workers_that_died_is_taken_over(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    fingerprint, attempt = unseal(made)
    first = lease(made, fingerprint, attempt, age=LONG_AGO)
    assert Leases(made.datastore).take_over(fingerprint, first.record, SOMEBODY, "died-at-once") is not None
    os.utime(made.store / lease_key(fingerprint), (0, 0))
    run = made.run()
    assert run.decision("make")["attempt"] == attempt
    assert runs() == 1


def test_finished_work_that_could_not_be_uploaded_is_sealed_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LoneStep(tmp_path, settings={"datastore": f"memory://{uuid.uuid4().hex}"})
    upload = Datastore.upload

    def fail(self: Datastore, source: Path, key: str, progress: Any = None) -> None:
        raise StoreError("the store is away")

    for option in ("DATASTORE", "WORK_DIRECTORY", "CACHE_DIRECTORY"):
        monkeypatch.setenv(f"AIRFLOW__MLPIPE__{option}", "")  # which is undone, other than what the step sets
    monkeypatch.setattr(Datastore, "upload", fail)
    with pytest.raises(StoreError, match="the store is away"):
        step.run()
    monkeypatch.setattr(Datastore, "upload", upload)
    assert step.run(try_number=2).decision["action"] == "ran"
    assert step.executions == 1
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("skew", [-LONG_AGO, LONG_AGO])
def test_a_worker_whose_clock_is_wrong_keeps_its_lease_and_loses_it_as_any_other(
    made: DagFiles, runs: Callable[[], int], skew: float
) -> None:
    fingerprint, attempt = unseal(made)
    held = lease(made, fingerprint, attempt, age=50, skew=skew)
    made.log.when(f"waiting for {SOMEBODY}", lambda: os.utime(made.store / lease_key(fingerprint), (0, 0)))
    run = made.run()
    assert run.decision("make")["attempt"] == attempt
    assert "waiting for" in run.text
    assert runs() == 1
    assert not held.renew()


def left_by_the_dead(dags: DagFiles) -> str:
    """Run the step, and leave its lease as if its worker had died just after sealing; the attempt."""
    run = dags.run()
    fingerprint, attempt = run.decision("make")["fingerprint"], run.decision("make")["attempt"]
    lease(dags, fingerprint, attempt).announce_seal(attempt)
    os.utime(dags.store / lease_key(fingerprint), (0, 0))
    return str(attempt)


def test_damaged_outputs_of_a_worker_that_died_after_sealing_are_not_sealed_again(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    attempt = left_by_the_dead(made)
    rewrite(made.store / attempt_prefix(attempt) / "outputs/made", "MADE, but longer")
    run = made.run()
    assert run.decision("make")["kinds"] == ["unusable"]
    assert run.decision("make")["attempt"] != attempt
    assert run.read("make", "made") == "made"
    assert runs() == 2


def test_a_refresh_makes_anew_what_a_worker_that_died_after_sealing_has_made(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    attempt = left_by_the_dead(made)
    run = made.run(mlpipe={"reuse": "refresh"})
    assert run.decision("make")["attempt"] != attempt
    assert runs() == 2


def test_a_refresh_makes_anew_what_another_run_has_made_but_not_sealed(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    fingerprint, attempt = unseal(made)
    lease(made, fingerprint, attempt, age=LONG_AGO)
    run = made.run(mlpipe={"reuse": "refresh"})
    assert run.decision("make")["attempt"] != attempt
    assert runs() == 2


def test_finished_work_that_is_too_old_is_not_taken_over(made: DagFiles, runs: Callable[[], int]) -> None:
    write_step(made, "max_age=timedelta(microseconds=1)")
    fingerprint, attempt = unseal(made)
    lease(made, fingerprint, attempt, age=LONG_AGO)
    assert made.run().decision("make")["attempt"] != attempt
    assert runs() == 2


def test_a_step_that_outlived_its_worker_is_joined_and_not_started_again(
    made: DagFiles, runs: Callable[[], int], tmp_path: Path
) -> None:
    fingerprint, attempt = unseal(made)
    (tmp_path / "wait").touch()
    orphan = start_again(made, attempt)
    lease(made, fingerprint, orphan, age=LONG_AGO)
    made.log.when("is still running: following it", (tmp_path / "wait").unlink)
    run = made.run()
    assert run.state == "success", run.text
    assert f"Attempt {orphan} of the same step is still running: following it" in run.text
    assert run.decision("make")["attempt"] == orphan
    assert "begun" in run.log
    assert runs() == 2


def start_again(dags: DagFiles, attempt: str) -> str:
    """Start what *attempt* did as another attempt, which belongs to nobody here; its id."""
    before = AttemptDirectory(dags.store / attempt_prefix(attempt), attempt).read_spec()
    orphan = f"orphan-of-{attempt}"
    directory = dags.store / attempt_prefix(orphan)
    (directory / "outputs").mkdir(parents=True)

    def moved(text: str) -> str:
        return text.replace(attempt, orphan)

    working_directory = Path(moved(before.working_directory))
    working_directory.mkdir(parents=True)
    (working_directory / "make.py").write_bytes((dags.folder / "src/make.py").read_bytes())
    spec: LaunchSpec = dataclasses.replace(
        before,
        attempt=orphan,
        argv=[moved(item) for item in before.argv],
        directory=str(directory),
        working_directory=str(working_directory),
        outputs={
            name: dataclasses.replace(out, path=moved(out.path)) for name, out in before.outputs.items()
        },
    )
    LocalDriver(runtime_bundle(Settings.read().cache_directory)).launch(
        AttemptDirectory(directory, orphan), spec
    )
    return orphan


def test_unfinished_work_of_another_recipe_is_not_taken_over(made: DagFiles, runs: Callable[[], int]) -> None:
    _, attempt = unseal(made)
    write_step(made, 'environment_variables={"A": "1"}')
    other, _ = unseal(made)
    lease(made, other, attempt, age=LONG_AGO)
    run = made.run()
    assert run.actions == {"make": "ran"}
    assert run.decision("make")["attempt"] != attempt
    assert runs() == 3


def test_an_expired_lease_whose_attempt_left_nothing_is_taken_over(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    fingerprint, _ = unseal(made)
    lease(made, fingerprint, "never-launched", age=LONG_AGO)
    run = made.run()
    assert run.actions == {"make": "ran"}
    assert "Attempt never-launched left nothing to go on with" in run.text
    assert runs() == 2


WAYS = ['mode="poke", poke_interval=0.1', "deferrable=True, poke_interval=0.1"]


@pytest.mark.parametrize("keywords", [*WAYS, 'mode="reschedule", poke_interval=1'])
def test_while_somebody_else_runs_the_same_step_it_waits_and_then_finds_the_outputs(
    made: DagFiles, runs: Callable[[], int], keywords: str
) -> None:
    write_step(made, keywords)
    first = made.run()
    manifest = made.manifest_path(first, "make")
    sealed = manifest.read_bytes()
    manifest.unlink()
    held = lease(made, first.decision("make")["fingerprint"], "theirs")

    def they_seal() -> None:
        assert made.datastore.create(manifest_key(first.decision("make")["fingerprint"]), sealed)
        held.release()

    made.log.when(f"step 'make': waiting for {SOMEBODY}, which runs the same step", they_seal)
    run = made.run()
    assert run.actions == {"make": "reused"}
    assert run.returned("make") == first.returned("make")
    assert runs() == 1


@pytest.mark.parametrize("keywords", WAYS)
def test_when_they_give_up_the_one_who_waited_runs(
    made: DagFiles, runs: Callable[[], int], keywords: str
) -> None:
    write_step(made, keywords)
    fingerprint, _ = unseal(made)
    made.log.when("waiting for", lease(made, fingerprint, "theirs").release)
    assert made.run().actions == {"make": "ran"}
    assert runs() == 2


def test_a_lease_that_is_not_renewed_while_somebody_waits_in_the_triggerer_is_taken_over(
    made: DagFiles, runs: Callable[[], int]
) -> None:
    write_step(made, "deferrable=True, poke_interval=0.1")
    fingerprint, _ = unseal(made)
    assert Leases(made.datastore, duration=5.0).acquire(fingerprint, SOMEBODY, "died-at-once") is not None
    kept, soon = made.store / lease_key(fingerprint), time.time() + 4
    os.utime(kept, (soon, soon))  # for a first look that comes late
    made.log.when("waiting for", lambda: os.utime(kept, (0, 0)))
    run = made.run()
    assert "waiting for" in run.text
    assert run.actions == {"make": "ran"}
    assert runs() == 2


def test_who_may_not_share_does_not_wait(made: DagFiles, runs: Callable[[], int]) -> None:
    fingerprint, _ = unseal(made)
    held = lease(made, fingerprint, "theirs")
    assert made.run(mlpipe={"reuse": "bypass"}).actions == {"make": "ran"}
    assert runs() == 2
    held.release()


@pytest.mark.parametrize("died", ["before it launched", "after the script had ended"])
def test_what_a_dead_worker_left_at_a_fixed_path_is_not_in_the_way_of_the_next(
    dags: DagFiles, tmp_path: Path, died: str
) -> None:
    data, place = dags.file("data/one.txt", "one"), tmp_path / "fixed/one.txt"
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.dag(f"""
        data = Dataset.File.from_files("data/one.txt").as_named_input("data").as_mount("{place}")
        step("read", data, PipelineData("said"))
    """)
    first = dags.run()
    dags.manifest_path(first, "read").unlink()
    fingerprint, attempt = first.decision("read")["fingerprint"], first.decision("read")["attempt"]
    dead = "never-launched" if died == "before it launched" else attempt
    stage_and_die(dags, dead, data, place)
    lease(dags, fingerprint, dead, age=LONG_AGO)
    run = dags.run()
    assert run.state == "success", run.text
    assert (run.decision("read")["attempt"] == attempt) is (dead == attempt)
    assert not place.is_symlink()
    assert list((tmp_path / "work").iterdir()) == []


def stage_and_die(dags: DagFiles, attempt: str, data: Path, place: Path) -> None:
    """Put an input at its place as *attempt* does, and nothing more."""
    places = AttemptPlaces.of(attempt, Settings.read(), dags.datastore)
    places.scratch.mkdir(parents=True)
    Traces(places.inputs).link("data", place, data)
    assert place.is_symlink()


def _take_part(step: LoneStep, number: int, results: multiprocessing.Queue[tuple[str, str]]) -> None:
    try:
        done = step.run(f"run-{number}", pause=0.2)
        results.put((done.decision["action"], done.reference.model_dump_json()))
    except BaseException as error:
        results.put(("failed", repr(error)))


@pytest.mark.parametrize("crowd", [pytest.param(2, marks=pytest.mark.slow), 10])
def test_of_runs_that_begin_at_once_one_makes_the_outputs_and_all_hand_on_the_same(
    tmp_path: Path, crowd: int
) -> None:
    step = LoneStep(tmp_path / "lone")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[tuple[str, str]] = context.Queue()
    processes = [context.Process(target=_take_part, args=(step, number, results)) for number in range(crowd)]
    for process in processes:
        process.start()
    handed_on = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert step.executions == 1
    assert sorted(action for action, _ in handed_on) == ["ran"] + ["reused"] * (crowd - 1)
    assert len({reference for _, reference in handed_on}) == 1
    assert step.processes() == []
