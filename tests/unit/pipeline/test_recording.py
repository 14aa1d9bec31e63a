from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.pipeline.lookup import Sensing, sense
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.recipes import recipe_of
from airflow_mlpipe.pipeline.recording import Recorder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.decision import Policy
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.manifest import ManifestCompute
from airflow_mlpipe.store.run_record import RunRecord, RunRecords
from airflow_mlpipe.store.sealing import seal
from tests.footprint import tree
from tests.unit.pipeline.sealed import IDENTITY, manifest_of, prepared, sealed, settings

STEP = prepared("--lr", "0.1")


@pytest.fixture
def own(tmp_path: Path) -> Datastore:
    return Datastore.open(str(tmp_path / "own"))


@pytest.fixture
def other(tmp_path: Path) -> Datastore:
    return Datastore.open(str(tmp_path / "other"))


def look(own: Datastore, *others: Datastore) -> Sensing:
    return sense(STEP, Policy(), IDENTITY, settings(), Stores(own, others))


def record(own: Datastore) -> RunRecord:
    found = RunRecords(own).read("retrain", "run-2", "train")
    assert found is not None
    return found


def journal(own: Datastore) -> tuple[str, ...]:
    return Journal(own).recent("retrain", "train")


def test_a_running_step_is_recorded_with_its_reasons_and_its_recipe(own: Datastore) -> None:
    sensing = look(own)
    with Recorder(STEP, IDENTITY, own).running(sensing):
        now = record(own)
        assert (now.status, now.action, now.attempt, now.sealed) == ("running", "ran", "", False)
        assert [(reason.kind, reason.text) for reason in now.reasons] == [("first", sensing.decision.why)]
        assert now.finished_at is None
        assert recipe_of(own, STEP.fingerprint) == STEP.recipe
    assert journal(own) == ()


def test_a_step_that_fails_is_recorded_as_failed_and_its_error_goes_on(own: Datastore) -> None:
    with pytest.raises(UserError, match="exit code 1"), Recorder(STEP, IDENTITY, own).running(look(own)):
        raise UserError("exit code 1")
    failed = record(own)
    assert failed.status == "failed"
    assert failed.finished_at is not None
    assert journal(own) == ()


def test_a_worker_that_is_killed_leaves_the_record_of_a_running_step(own: Datastore) -> None:
    with pytest.raises(SystemExit), Recorder(STEP, IDENTITY, own).running(look(own)):
        raise SystemExit
    assert record(own).status == "running"


def test_a_sealed_outcome_is_recorded_and_remembered(own: Datastore) -> None:
    sensing = look(own)
    manifest = sealed(own, STEP)
    Recorder(STEP, IDENTITY, own).succeeded(sensing, Outcome(sensing.decision, manifest, own, sealed=True))
    done = record(own)
    assert (done.status, done.attempt, done.sealed, done.store) == ("succeeded", "attempt-1", True, own.url)
    assert done.seconds == manifest.seconds
    assert journal(own) == (STEP.fingerprint,)


def test_what_was_not_sealed_is_recorded_but_no_later_run_is_compared_with_it(own: Datastore) -> None:
    sensing = look(own)
    outcome = Outcome(sensing.decision, manifest_of(own, STEP), own, sealed=False)
    Recorder(STEP, IDENTITY, own).succeeded(sensing, outcome)
    assert (record(own).status, record(own).sealed) == ("succeeded", False)
    assert journal(own) == ()


def test_a_reuse_from_another_store_is_recorded_in_the_own_one_alone(
    own: Datastore, other: Datastore, tmp_path: Path
) -> None:
    sealed(other, STEP)
    before = tree(tmp_path / "other")
    sensing = look(own, other)
    recorder = Recorder(STEP, IDENTITY, own)
    recorder.reusing(sensing)
    recorder.succeeded(sensing, sensing.reused())
    reused = record(own)
    assert (reused.status, reused.action, reused.store) == ("succeeded", "reused", other.url)
    assert reused.saved_seconds == reused.seconds
    assert journal(own) == (STEP.fingerprint,)
    assert tree(tmp_path / "other") == before


def test_an_invalidation_is_forgotten_once_the_step_was_run_and_sealed(own: Datastore) -> None:
    sealed(own, STEP)
    Invalidations(own).invalidate(STEP.fingerprint, "ada", "bad labels")
    sensing = look(own)
    recorder = Recorder(STEP, IDENTITY, own)
    unsealed = Outcome(sensing.decision, manifest_of(own, STEP), own, sealed=False)
    recorder.succeeded(sensing, unsealed)
    assert Invalidations(own).current(STEP.fingerprint) is not None
    manifest = sealed(own, STEP, attempt="attempt-2")
    recorder.succeeded(sensing, Outcome(sensing.decision, manifest, own, sealed=True))
    assert Invalidations(own).current(STEP.fingerprint) is None


def test_outputs_that_are_invalidated_while_they_are_handed_on_stay_so(
    own: Datastore, other: Datastore
) -> None:
    """Exports take their time; a store that is read besides must not step in for what was taken away."""
    sensing = look(own)
    manifest = sealed(own, STEP)
    sealed(other, STEP)
    Invalidations(own).invalidate(STEP.fingerprint, "ada", "bad labels")
    Recorder(STEP, IDENTITY, own).succeeded(sensing, Outcome(sensing.decision, manifest, own, sealed=True))
    assert [reason.kind for reason in look(own, other).decision.reasons] == ["invalidated"]


def test_a_reuse_forgets_no_invalidation(own: Datastore) -> None:
    sealed(own, STEP)
    Invalidations(own).distrust(STEP.fingerprint, "ada", "bad labels there")
    sensing = look(own)
    Recorder(STEP, IDENTITY, own).succeeded(sensing, sensing.reused())
    assert Invalidations(own).current(STEP.fingerprint) is not None


def test_what_machines_lost_is_recorded_at_once_and_stays_with_the_record(own: Datastore) -> None:
    sensing = look(own)
    recorder = Recorder(STEP, IDENTITY, own)
    with recorder.running(sensing):
        assert record(own).lost_seconds is None
        recorder.attempt_lost(1200.0)
        assert (record(own).status, record(own).lost_seconds) == ("running", 1200.0)
        recorder.attempt_lost(1200.0)
    made = manifest_of(own, STEP)
    recorder.succeeded(sensing, Outcome(sensing.decision, made, own, sealed=False))
    done = record(own)
    assert (done.status, done.lost_seconds) == ("succeeded", 2400.0)
    assert done.lost_cost == pytest.approx(1.0)  # at 1.5 an hour


def test_a_worker_that_goes_on_with_a_step_adds_to_what_was_lost(own: Datastore) -> None:
    sensing = look(own)
    first = Recorder(STEP, IDENTITY, own)
    with first.running(sensing):
        first.attempt_lost(60.0)
    second = Recorder(STEP, dataclasses.replace(IDENTITY, try_number=2), own)
    with second.running(sensing):
        second.attempt_lost(40.0)
    assert record(own).lost_seconds == 100.0
    made_again = Recorder(STEP, IDENTITY, own)
    with made_again.running(sensing):
        assert record(own).lost_seconds is None


def test_a_reuse_is_recorded_with_what_it_saved(own: Datastore) -> None:
    made = manifest_of(own, STEP)
    seal(
        own,
        made.model_copy(update={"compute": ManifestCompute(target="a100", type="docker", cost_per_hour=6)}),
    )
    recorder = Recorder(STEP, IDENTITY, own)
    recorder.reusing(look(own))
    reused = record(own)
    assert reused.saved_cost == reused.cost == pytest.approx(0.1)  # a minute of an hour that costs 6


def test_a_store_that_refuses_records_does_not_fail_the_step(
    tmp_path: Path, own: Datastore, caplog: pytest.LogCaptureFixture
) -> None:
    sensing = look(own)
    manifest = sealed(own, STEP)
    (tmp_path / "own/mlpipe/v1/runs").write_text("a file where a folder should be")
    (tmp_path / "own/mlpipe/v1/journal").write_text("a file where a folder should be")
    recorder = Recorder(STEP, IDENTITY, own)
    with caplog.at_level(logging.WARNING), recorder.running(sensing):
        recorder.snapshot_kept("ab" * 32)
    recorder.succeeded(sensing, Outcome(sensing.decision, manifest, own, sealed=True))
    assert "could not be recorded for later explanations" in caplog.text


def test_a_store_that_refuses_records_does_not_hide_why_the_step_failed(
    tmp_path: Path, own: Datastore
) -> None:
    sensing = look(own)
    (tmp_path / "own/mlpipe/v1").mkdir(parents=True)
    (tmp_path / "own/mlpipe/v1/runs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="exit code 1"), Recorder(STEP, IDENTITY, own).running(sensing):
        raise UserError("exit code 1")
