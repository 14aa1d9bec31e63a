"""A chain of the cheapest task there is."""

import os

from airflow.sdk import DAG, chain, task

with DAG("empty_task"):

    @task
    def nothing() -> None:
        """Do nothing."""

    chain(*(nothing.override(task_id=f"task_{n:02}")() for n in range(int(os.environ["BENCHMARK_LENGTH"]))))
