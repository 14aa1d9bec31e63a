"""Whose a failure is, what is said of it, and how long one that a machine caused is tried again."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.pipeline.failures import LONGEST_PAUSE_SECONDS, Retries, attributed, back_off, step_error
from airflow_mlpipe.records import StepResult

LOST = InfrastructureError("the node is gone")


def result(exit_code: int | None, **fields: Any) -> StepResult:
    return StepResult(
        "train-1", **{"status": "failed", **fields}, exit_code=exit_code, started_at=1, finished_at=2
    )


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [
        (1, UserError),
        (137, UserError),
        (-signal.SIGSEGV, UserError),
        (-signal.SIGABRT, UserError),
        (-signal.SIGKILL, InfrastructureError),
        (-signal.SIGTERM, InfrastructureError),
        (-signal.SIGHUP, InfrastructureError),
        (None, TargetError),
    ],
)
def test_the_way_a_step_ended_tells_whose_failure_it_is(exit_code: int | None, kind: type[StepError]) -> None:
    assert type(step_error(result(exit_code), "step 'train'")) is kind


def test_a_kill_at_the_memory_limit_is_the_steps_own_failure_and_says_what_to_do() -> None:
    killed = result(-9, out_of_memory=True, message="killed: out of memory, the limit is 4 GiB")
    error = step_error(killed, "step 'train'", "4Gi")
    assert type(error) is UserError
    assert str(error) == (
        "step 'train': its own code failed: killed: out of memory, the limit is 4 GiB; let it need less, or "
        "give its compute target more memory (memory='4Gi'); it printed nothing"
    )


def test_a_step_that_ended_well_and_whose_outputs_cannot_be_kept_did_not_fail_by_its_code() -> None:
    error = step_error(result(0, message="output 'model' holds a socket"), "step 'train'")
    assert type(error) is UserError
    assert str(error).startswith("step 'train': what it left cannot be kept: output 'model' holds a socket")


def test_a_signal_from_outside_stays_the_machines_although_a_child_was_out_of_memory() -> None:
    assert type(step_error(result(-15, out_of_memory=True), "step 'train'")) is InfrastructureError


def test_an_error_names_the_step_the_cause_and_the_last_lines() -> None:
    failed = result(3, message="exited with code 3", last_lines=["fitting", "no rows"])
    assert str(step_error(failed, "step 'train'")) == (
        "step 'train': its own code failed: exited with code 3; its last lines were:\n"
        "    fitting\n"
        "    no rows"
    )


def test_a_lost_step_is_told_how_it_would_be_tried_again() -> None:
    assert "infrastructure_retries of its compute target" in str(step_error(result(-15), "step 'train'"))


def test_a_step_that_was_ended_on_request_failed_by_nobodys_fault() -> None:
    ended = result(-15, status="terminated", message="terminated on request")
    assert type(step_error(ended, "step 'train'")) is StepError


def test_a_step_that_somebody_else_ended_was_lost_to_its_machine() -> None:
    ended = result(0, status="terminated", message="terminated on request")
    error = step_error(ended, "step 'train'", asked_for=False)
    assert type(error) is InfrastructureError
    assert "told to end (SIGTERM), and not by this task" in str(error)


def test_what_a_driver_raises_gets_the_name_of_the_step_and_keeps_its_kind() -> None:
    error = attributed(TargetError("image x:1 cannot be pulled"), "step 'train'")
    assert type(error) is TargetError
    assert str(error) == "step 'train': the compute target cannot run it: image x:1 cannot be pulled"
    assert str(attributed(StepError("terminated"), "step 'train'")) == "step 'train': terminated"


def test_pauses_double_from_five_seconds_to_two_minutes_and_differ_between_attempts() -> None:
    pauses = [back_off(lost, "train-1") for lost in (1, 2, 3, 4, 5, 6, 100)]
    for pause, whole in zip(pauses, (5, 10, 20, 40, 80, 120, 120), strict=True):
        assert whole * 0.75 <= pause <= whole
    assert max(pauses) <= LONGEST_PAUSE_SECONDS
    assert pauses == [back_off(lost, "train-1") for lost in (1, 2, 3, 4, 5, 6, 100)]
    assert len({back_off(1, f"train-{number}") for number in range(100)}) > 50


def test_a_lost_step_is_started_anew_as_often_as_its_target_allows() -> None:
    retries = Retries(2, "train-1")
    for number in (1, 2):
        pause = retries.pause_after(LOST)
        assert (retries.number, pause) == (number, back_off(number, "train-1"))
    assert retries.pause_after(LOST) is None
    assert retries.number == 2


def test_what_was_lost_before_counts() -> None:
    retries = Retries(2, "train-1", number=1)
    assert retries.pause_after(LOST) == back_off(2, "train-1")
    assert retries.pause_after(LOST) is None


@pytest.mark.parametrize(
    "error", [UserError("exit code 1"), TargetError("no image"), StepError("terminated")]
)
def test_what_is_not_the_machines_fault_is_never_started_anew(error: StepError) -> None:
    retries = Retries(5, "train-1")
    assert retries.pause_after(error) is None
    assert retries.number == 0


def test_each_loss_is_said_with_its_number_its_cause_and_the_pause() -> None:
    retries = Retries(3, "train-1")
    retries.pause_after(LOST)
    assert retries.sentence(LOST, 10.0) == (
        "infrastructure failure 1 of 3, starting anew in 10 s: the node is gone"
    )
