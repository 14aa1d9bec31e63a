"""A result has the methods of Airflow's ``XComArg``, and stands wherever one may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg, chain, task
from typing_extensions import assert_type

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult


@step
def split() -> list[str]:
    return ["a", "b"]


@step
def score(shard: str) -> float:
    return len(shard) / 10


@task
def notify(scores: XComArg) -> None: ...


def length(shard: str) -> int:
    return len(shard)


shards = split()
assert_type(shards.map(length), StepResult[list[int]])
assert_type(shards.zip(split(), fillvalue=""), StepResult[list[tuple[Any, ...]]])
assert_type(shards.concat(split()), StepResult[list[Any]])
score.expand(shard=shards.map(length))
score.expand(shard=shards.concat(split()))

last = notify(score.expand(shard=shards))
shards >> last
shards << BaseOperator(task_id="begin")
[shards, split()] >> BaseOperator(task_id="end")
chain(shards, last)
shards.set_downstream(last)
assert_type(shards.map(length), StepResult[list[str]])  # E: assert-type, reportAssertTypeFailure
