"""A step whose task is to end: nothing of it is started, and nobody forgets what may still run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError

from airflow_mlpipe import PythonScriptStep
from airflow_mlpipe.errors import StepError, TargetError
from airflow_mlpipe.pipeline.step_run import StepRun
from airflow_mlpipe.reuse.decision import Policy
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Lease, Leases

LEASE = "ab" * 32
SENSING: Any = SimpleNamespace(seen=(), decision=SimpleNamespace(reasons=()))


class Making:
    """What stands for the making of a step's outputs: it raises *error*."""

    def __init__(self, error: BaseException | None = None, *, may_still_run: bool = False) -> None:
        self.error, self.may_still_run = error, may_still_run
        self.told: list[str] = []

    def run(self, previous: object, policy: object) -> Any:
        if "terminate" in self.told:
            raise StepError("was told to end")
        assert self.error is not None, "it was started"
        raise self.error

    def terminate(self) -> None:
        self.told.append("terminate")

    def abandon_left(self) -> None:
        self.told.append("abandon_left")
        if self.error is not None:
            raise self.error


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(Datastore.open(f"file://{tmp_path}/store"))


@pytest.fixture
def lease(leases: Leases) -> Lease:
    taken = leases.take(LEASE, "me", "attempt-1")
    assert isinstance(taken, Lease)
    return taken


@pytest.fixture
def step(tmp_path: Path) -> PythonScriptStep:
    (tmp_path / "work.py").write_text("print(1)")
    return PythonScriptStep(task_id="work", script_name="work.py", source_directory=str(tmp_path))


def run(step: PythonScriptStep, making: Making, lease: Lease) -> None:
    of_this_task: Any = SimpleNamespace(production=lambda **_: making)
    with lease:
        step._run(of_this_task, Policy(), SENSING, (lease,))


@pytest.mark.parametrize("may_still_run", [True, False])
@pytest.mark.parametrize(
    "error", [TargetError("the token has expired"), StepError("it failed"), AirflowTaskTimeout("too long")]
)
def test_the_lease_stays_whatever_the_failure_when_something_may_still_run(
    leases: Leases, lease: Lease, step: PythonScriptStep, error: BaseException, may_still_run: bool
) -> None:
    with pytest.raises(type(error)):
        run(step, Making(error, may_still_run=may_still_run), lease)
    assert (leases.current(LEASE) is not None) == may_still_run


def test_a_step_that_was_marked_while_it_was_prepared_is_not_started(
    lease: Lease, step: PythonScriptStep
) -> None:
    step.on_kill()
    with pytest.raises(StepError, match="was told to end"):
        run(step, Making(), lease)


@pytest.mark.parametrize("error", [None, TargetError("the token has expired")])
def test_what_a_trigger_that_failed_has_watched_is_ended_and_the_failure_is_airflows(
    step: PythonScriptStep, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    making = Making(error)
    monkeypatch.setattr(StepRun, "of", lambda *_: SimpleNamespace(production=lambda: making))
    with pytest.raises(TaskDeferralError):
        step.resume_execution(TRIGGER_FAIL_REPR, {"error": "Trigger failure"}, {})
    assert making.told == ["abandon_left"]
