"""A sweep over more values than are good for one mapped step, and the best of them."""

import os

from airflow.sdk import DAG

from airflow_mlpipe import expand_in_chunks, step


@step
def train(depth: int) -> dict:
    return {"depth": depth, "loss": (depth - 321) ** 2}


@step
def best(trials: list[dict]) -> int:
    return min(trials, key=lambda trial: trial["loss"])["depth"]


with DAG("sweep_steps"):
    depths = range(int(os.environ["BENCHMARK_WIDTH"]))
    best(expand_in_chunks(train, int(os.environ["BENCHMARK_CHUNK"]), depth=list(depths)))
