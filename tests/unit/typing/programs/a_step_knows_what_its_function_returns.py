"""The type of a result names the type that the function returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import assert_type

from airflow_mlpipe import Pickle, step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepFunction, StepResult


class Report(NamedTuple):
    best: str
    accuracy: float


@step
def evaluate(rounds: int) -> Report:
    return Report("tree", rounds / 10)


@step(retries=2)
def measure() -> dict[str, float]:
    return {"accuracy": 0.9}


@step()
def keep() -> Pickle[Report]:
    return Report("tree", 0.9)


@step
def tell() -> None: ...


assert_type(evaluate(3), StepResult[Report])
assert_type(measure(), StepResult[dict[str, float]])
assert_type(keep(), StepResult[Report])
assert_type(tell(), StepResult[None])
assert_type(tell(), StepResult[int])  # E: assert-type, reportAssertTypeFailure

same: StepFunction[[int], Report] = evaluate
other: StepFunction[[str], Report] = evaluate  # E: assignment, reportAssignmentType
third: StepFunction[[int], float] = evaluate  # E: assignment, reportAssignmentType
