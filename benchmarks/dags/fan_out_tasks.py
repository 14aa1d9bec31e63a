"""A task, tasks mapped over the list that it returns, and a task that takes all their results."""

import os

from airflow.sdk import DAG, task


@task
def shards(count: int) -> list[int]:
    return list(range(count))


@task
def score(shard: int) -> int:
    return shard * shard


@task
def total(scores: list[int]) -> int:
    return sum(scores)


with DAG("fan_out_tasks"):
    total(score.expand(shard=shards(int(os.environ["BENCHMARK_WIDTH"]))))
