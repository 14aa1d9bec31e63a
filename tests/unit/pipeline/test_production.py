"""Attempts that follow each other: none is taken for another, none is forgotten while it may run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_mlpipe.errors import InfrastructureError, StepError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.pipeline import production as module
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.identity import TaskIdentity, first_of, successor
from airflow_mlpipe.pipeline.placements.contract import Placement
from airflow_mlpipe.pipeline.production import Lost, Production
from airflow_mlpipe.records import LaunchSpec, RunInfo
from airflow_mlpipe.reuse.decision import Policy
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.contract import AttemptDirectory

IDENTITY = TaskIdentity("dag", "run", "task", -1, 1, "id")
GPU = KubernetesTarget("gpu", image="image@sha256:" + "0" * 64)


class Verbs:
    """A driver that notes what it is asked for; *state* is that of every attempt."""

    def __init__(self, state: str, *, is_silent: bool = False) -> None:
        self.state, self.is_silent = state, is_silent
        self.asked: list[tuple[str, str]] = []

    def collect(self, attempt: AttemptDirectory) -> None:
        pass

    def status(self, attempt: AttemptDirectory) -> str:
        if self.is_silent:
            raise InfrastructureError("the target does not answer")
        return self.state

    def launch(self, attempt: AttemptDirectory, *rest: Any) -> None:
        self.asked.append(("launch", attempt.attempt))

    def terminate(self, attempt: AttemptDirectory) -> None:
        self.asked.append(("terminate", attempt.attempt))
        if self.is_silent:
            raise InfrastructureError("the target does not answer")

    def discard(self, attempt: AttemptDirectory) -> None:
        self.asked.append(("discard", attempt.attempt))


class Producing(Production):
    """A production whose attempts do as *produces* says."""

    produces: Callable[[AttemptPlaces, bool], Any]
    verbs: Verbs

    @property
    def _driver(self) -> Any:  # type: ignore[override]
        return self.verbs

    def _produce(self, places: AttemptPlaces, *, is_new: bool) -> Any:
        return self.produces(places, is_new)

    def _placement(self, places: AttemptPlaces) -> Any:
        return SimpleNamespace(clear=lambda: None)


def production(
    folder: Path,
    target: ComputeTarget,
    verbs: Verbs,
    produces: Any,
    kind: type[Producing] = Producing,
    **given: Any,
) -> Producing:
    store = Datastore.open(f"file://{folder}/store")
    definition = SimpleNamespace(target=target, who="step 'task'")
    preparation: Any = SimpleNamespace(fingerprint="new", definition=definition)
    settings: Any = SimpleNamespace(work_directory=folder / "work")
    stores: Any = SimpleNamespace(own=store, keyring=SimpleNamespace(key_ids=()))
    made = kind(preparation, IDENTITY, "e", settings, stores, None, lambda _: None, lambda _: None, **given)
    made.verbs, made.produces = verbs, produces
    return made


def launched(made: Producing, attempt: str, fingerprint: str) -> None:
    places = made._places(attempt)
    places.records.mkdir(parents=True)
    run = RunInfo(attempt, "e", "dag", "run", "task", -1, 1)
    places.directory.write_spec(LaunchSpec(attempt, fingerprint, [], "/records", "/code", run))


@pytest.mark.parametrize("may_leave", [True, False])
def test_what_was_left_to_the_triggerer_is_gone_on_with_only_if_nothing_changed_meanwhile(
    tmp_path: Path, may_leave: bool
) -> None:
    verbs = Verbs("running")
    made = production(
        tmp_path, GPU, verbs, lambda places, is_new: (places.attempt, is_new), may_leave=may_leave
    )
    launched(made, IDENTITY.attempt, "new")
    assert made.run((), Policy()) == (IDENTITY.attempt, False)
    launched(made, successor(IDENTITY.attempt, 1), "old")
    assert made.run((), Policy()) == (successor(IDENTITY.attempt, 2), True)
    assert ("terminate", successor(IDENTITY.attempt, 1)) in verbs.asked


def test_a_worker_that_leaves_an_attempt_to_the_triggerer_keeps_nothing_of_it(tmp_path: Path) -> None:
    made = production(tmp_path, GPU, Verbs("running"), None)
    places = made._places(IDENTITY.attempt)
    launched(made, IDENTITY.attempt, "new")
    (places.scratch / "attempt").mkdir(parents=True)
    made.leave(IDENTITY.attempt)
    assert not places.scratch.exists()
    assert places.directory.read_spec().fingerprint == "new"


def test_a_target_that_stays_silent_is_tried_again_and_what_may_still_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    tried = []

    def produces(places: AttemptPlaces, is_new: bool) -> None:
        tried.append(places.attempt)
        raise Lost("it does not answer", 1.0)

    made = production(
        tmp_path, LocalTarget(infrastructure_retries=2), Verbs("running", is_silent=True), produces
    )
    with pytest.raises(Lost, match="it does not answer"):
        made.run((), Policy())
    assert tried == [successor(IDENTITY.attempt, number) for number in range(3)]
    assert made.may_still_run


def test_an_earlier_attempt_of_which_the_target_says_nothing_may_still_run(tmp_path: Path) -> None:
    verbs = Verbs("running", is_silent=True)
    made = production(tmp_path, LocalTarget(), verbs, lambda places, is_new: None)
    launched(made, "earlier", "new")
    with pytest.raises(InfrastructureError):
        made.run(["earlier"], Policy())
    assert made.may_still_run


def test_nothing_is_launched_for_a_task_that_was_ended_while_its_inputs_were_staged(tmp_path: Path) -> None:
    verbs = Verbs("unknown")

    class Staging(Producing):
        def _produce(self, places: AttemptPlaces, *, is_new: bool) -> Any:
            self._launch(places, placement, b"", "snapshot")

        def _spec(self, *given: Any) -> Any:
            return None, {}

        def _container(self, placement: Placement) -> None:
            return None

    made = production(tmp_path, LocalTarget(), verbs, None)
    made.__class__ = Staging
    made.preparation.code = SimpleNamespace(why_undeclared=None)  # type: ignore[misc]

    def stage(*given: Any) -> dict[str, Any]:
        made.terminate()
        return {}

    placement: Any = SimpleNamespace(stage=stage, urls=lambda: ())
    with pytest.raises(StepError, match="was told to end"):
        made.run((), Policy())
    assert "launch" not in [verb for verb, _ in verbs.asked]


def test_the_first_attempt_of_a_try_is_told_from_the_id_of_any_that_followed() -> None:
    assert first_of(successor(IDENTITY.attempt, 3)) == first_of(IDENTITY.attempt) == IDENTITY.attempt


class Looking(Producing):
    """A production that looks at its attempts as it does, and launches them by *verbs* alone."""

    _produce = Production._produce

    def _launch(self, places: AttemptPlaces, *_: Any) -> None:
        self.verbs.launch(places.directory)


@pytest.mark.parametrize("earlier", [IDENTITY.attempt, "of-an-earlier-try"])
def test_a_running_attempt_that_was_gone_on_with_is_ended_when_the_task_was_marked_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str
) -> None:
    monkeypatch.setattr(module, "take_snapshot", lambda _: b"")
    monkeypatch.setattr(module, "keep_snapshot", lambda *_: "snapshot")
    verbs = Verbs("running")
    made = production(tmp_path, GPU, verbs, None, kind=Looking, may_leave=True)
    launched(made, earlier, "new")
    monkeypatch.setattr(verbs, "collect", lambda _: made.terminate())  # a signal while the worker looks
    with pytest.raises(StepError, match="was told to end"):
        made.run(() if earlier == IDENTITY.attempt else [earlier], Policy())
    assert ("terminate", earlier) in verbs.asked


def test_an_attempt_that_was_left_is_ended_when_the_task_is_marked_before_airflow_has_deferred_it(
    tmp_path: Path,
) -> None:
    verbs = Verbs("running")
    made = production(tmp_path, GPU, verbs, None)
    launched(made, IDENTITY.attempt, "new")
    made.leave(IDENTITY.attempt)
    made.terminate()
    assert verbs.asked == [("terminate", IDENTITY.attempt)]


def test_what_a_try_left_is_ended_when_nobody_watches_it_any_more(tmp_path: Path) -> None:
    verbs = Verbs("running")
    made = production(tmp_path, GPU, verbs, None)
    made.abandon_left()
    assert verbs.asked == []
    for attempt in (IDENTITY.attempt, successor(IDENTITY.attempt, 1)):
        launched(made, attempt, "new")
    made.abandon_left()
    last = successor(IDENTITY.attempt, 1)
    assert verbs.asked == [("terminate", last), ("discard", last)]


def test_a_time_out_that_comes_while_an_attempt_is_looked_at_or_ended_does_not_make_it_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_is_over(_: AttemptDirectory) -> str:
        raise AirflowTaskTimeout("it took too long")

    def lost(*_: Any) -> None:
        raise Lost("it does not answer", 1.0)

    verbs = Verbs("running")
    made = production(tmp_path, LocalTarget(infrastructure_retries=0), verbs, lost)
    launched(made, "earlier", "new")
    for verb, previous in (("status", ["earlier"]), ("terminate", [])):
        with monkeypatch.context() as patched:
            patched.setattr(verbs, verb, time_is_over)
            with pytest.raises(AirflowTaskTimeout):
                made.run(previous, Policy())
        assert made.may_still_run
