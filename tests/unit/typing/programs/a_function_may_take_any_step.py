"""A DAG author's own functions can be typed over steps and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import DAG, TaskGroup, task_group
from typing_extensions import assert_type

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import MappableStep, StepResult

R = TypeVar("R")


@step
def score(model: str, shard: int) -> float:
    return shard / 10


def over_all_shards(scorer: MappableStep[R], **common: Any) -> StepResult[list[R]]:
    return scorer.partial(**common).expand(shard=[1, 2, 3])


@task_group
def scoring(model: StepResult[str]) -> StepResult[list[float]]:
    return over_all_shards(score, model=model)


with DAG("scoring"), TaskGroup("all"):
    assert_type(over_all_shards(score, model="tree"), StepResult[list[float]])
    assert_type(over_all_shards(score.partial(model="tree")), StepResult[list[float]])
    over_all_shards([score])  # E: arg-type, reportArgumentType
