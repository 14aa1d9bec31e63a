"""A step, steps mapped over the list that it returns, and a step that takes all their results."""

import os

from airflow.sdk import DAG

from airflow_mlpipe import step


@step
def shards(count: int) -> list[int]:
    return list(range(count))


@step
def score(shard: int) -> int:
    return shard * shard


@step
def total(scores: list[int]) -> int:
    return sum(scores)


with DAG("fan_out_steps"):
    total(score.expand(shard=shards(int(os.environ["BENCHMARK_WIDTH"]))))
