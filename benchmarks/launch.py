"""Seconds from the start of a task to the first line of its script: steps beside the bare operators."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.report import Comparison, Report, load
from benchmarks.warm_airflow import WarmAirflow, epoch
from tests.engines import DOCKER_ADDRESS, KUBECONFIG_PATH, Cluster, image_name, new_namespace
from tools.console import say

DAG_ID = "launches"
RUN_SECONDS = 600.0
MORE_SECONDS = 0.5  # that a step may take beyond the bare operator
BARE = {"local": "BashOperator", "docker": "DockerOperator", "kubernetes": "KubernetesPodOperator"}

_FIRST_LINE = re.compile(r"first line at (\d+\.\d+)")


def measure(folder: Path, *, rounds: int) -> Report:
    """Run all of them one after the other, *rounds* times after once to warm up.

    The engine and the cluster are those of the tests; a target without one is left out.
    """
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    loads = []
    with _services() as variables:
        store = folder / "store"
        settings = {**variables, "AIRFLOW__MLPIPE__DATASTORE": f"file://{store}"}
        with WarmAirflow(folder, [DAG_ID], settings) as airflow:
            store.mkdir()
            _waits(airflow)
            for number in range(1, rounds + 1):
                waits = _waits(airflow)
                loads.append(load())
                for task_id, wait in waits.items():
                    seconds[task_id].append(wait)
                say(f"round {number} of {rounds}: " + ", ".join(f"{k} {v:.2f} s" for k, v in waits.items()))
    targets = [target for target in BARE if f"{target}_step" in seconds]
    return Report(
        name="launch",
        settings={
            "executor": "LocalExecutor",
            "database": "SQLite",
            "image": variables["BENCHMARK_IMAGE"],
            "rounds": rounds,
            "load_average": loads,
        },
        comparisons=[comparison for target in targets for comparison in _comparisons(target, seconds)],
        details={
            "left_out": sorted(set(BARE) - set(targets)),
            "median_seconds": {name: round(median(waits), 3) for name, waits in seconds.items()},
        },
    )


def _comparisons(target: str, seconds: Mapping[str, list[float]]) -> Iterator[Comparison]:
    ours, bare = seconds[f"{target}_step"], seconds[f"{target}_bare"]
    more = [a - b for a, b in zip(ours, bare, strict=True)]
    yield Comparison(f"{target}, to the first line", BARE[target], "s", ours, bare)
    yield Comparison(f"{target}, more than bare", "half a second", "s", more, [MORE_SECONDS] * len(more), 1.0)


@contextmanager
def _services() -> Iterator[dict[str, str]]:
    """The variables of the DAG; a namespace of the cluster is there for as long as the block lasts."""
    variables = {"BENCHMARK_IMAGE": image_name()}
    if address := os.environ.get(DOCKER_ADDRESS) or os.environ.get("DOCKER_HOST"):
        # The worker asks it which image a name means, for pods, too.
        variables["BENCHMARK_DOCKER"] = variables["DOCKER_HOST"] = address
    if not (kubeconfig := os.environ.get(KUBECONFIG_PATH)):
        yield variables
        return
    with new_namespace(Cluster(Path(kubeconfig))) as namespace:
        yield {**variables, "BENCHMARK_KUBECONFIG": kubeconfig, "BENCHMARK_NAMESPACE": namespace}


def _waits(airflow: WarmAirflow) -> dict[str, float]:
    """One run: for each task the seconds from its start to its script's first line."""
    run_id = airflow.run_dag(DAG_ID, {}, RUN_SECONDS)["dag_run_id"]
    tasks = airflow.task_instances(DAG_ID, run_id)
    return {
        task["task_id"]: _first_line(airflow.home / "logs", run_id, task["task_id"])
        - epoch(task["start_date"])
        for task in sorted(tasks, key=lambda task: str(task["start_date"]))
    }


def _first_line(logs: Path, run_id: str, task_id: str) -> float:
    """When the script of a task printed its line, in seconds since the epoch. Raises RuntimeError."""
    for path in logs.rglob(f"run_id={run_id}/task_id={task_id}/*.log*"):
        if found := _FIRST_LINE.search(path.read_text("utf8", errors="replace")):
            return float(found[1])
    raise RuntimeError(f"{task_id} of run {run_id} has printed no line; see {logs}")
