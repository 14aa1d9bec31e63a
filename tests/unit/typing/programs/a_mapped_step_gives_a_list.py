"""What a mapped step returns is a list of what its function returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult


@step
def score(model: str, shard: int) -> float:
    return shard / 10


@step
def collect(scores: list[float | None]) -> None: ...


scores = score.partial(model="tree").expand(shard=[1, 2])
assert_type(scores, StepResult[list[float]])
assert_type(score.expand(model=["tree"], shard=[1, 2]), StepResult[list[float]])
assert_type(score.expand_kwargs([{"model": "tree", "shard": 1}]), StepResult[list[float]])
assert_type(score.override(pool="gpus").partial(model="tree").expand(shard=[1]), StepResult[list[float]])
collect(scores)
collect([0.1, None])
collect(["0.1"])  # E: list-item, reportArgumentType
