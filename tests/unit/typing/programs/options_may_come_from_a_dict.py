"""Options that several steps share may stand in a dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.options import StepOptions

anything: dict[str, Any] = {"retries": 2, "compute_target": "gpu"}
checked: StepOptions = {"retries": 2, "compute_target": "gpu"}
wrong: StepOptions = {"retries": "2"}  # E: typeddict-item, reportAssignmentType


@step(**anything)
def prepare(rounds: int) -> None: ...


@step(**checked)
def train(rounds: int) -> None: ...


prepare(3)
train(3)
prepare("3")  # E: arg-type, reportArgumentType
train("3")  # E: arg-type, reportArgumentType
