"""``.override()`` takes the options of ``@step``, and gives a step with the same parameters and result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult


@step
def train(rounds: int) -> float:
    return rounds / 10


longer = train.override(task_id="longer", compute_target="gpu", retries=3)
assert_type(longer(3), StepResult[float])
longer("3")  # E: arg-type, reportArgumentType
train.override(retries="3")  # E: arg-type, reportArgumentType
train.override(taskid="longer")  # E: call-arg, reportCallIssue
