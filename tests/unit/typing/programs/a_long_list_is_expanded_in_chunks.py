"""``expand_in_chunks`` takes a step, or what its ``partial()`` gives, and returns a list of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

from airflow_mlpipe import expand_in_chunks, step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult


@step
def train(seed: int, lr: float = 0.1) -> float:
    return seed * lr


rates = [number / 1000 for number in range(1, 1000)]
assert_type(expand_in_chunks(train.partial(seed=7), 200, lr=rates), StepResult[list[float]])
assert_type(expand_in_chunks(train, 200, [{"seed": 1, "lr": 0.1}]), StepResult[list[float]])
expand_in_chunks(rates, 200, lr=rates)  # E: arg-type, reportArgumentType
