"""Memory of Airflow's processes while many pods run and their tasks wait in the triggerer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.report import Comparison, Report, load
from benchmarks.warm_airflow import WarmAirflow
from tests.engines import KUBECONFIG_PATH, Cluster, new_namespace
from tools.console import say

STEPS, PODS = "deferred_steps", "deferred_pods"
STARTING_SECONDS = 900.0
SETTLING_SECONDS = 10.0  # in which the last task's process ends, and the triggerer has them all
POLL_SECONDS = 1.0
MIB = 2**20

# Nobody pulls it; by its digest, so that nobody is asked what it is.
IMAGE = f"registry.example/python@sha256:{'0' * 64}"

# LocalExecutor's workers are children of the scheduler.
COMPONENTS = {"worker": "scheduler", "triggerer": "triggerer"}


@dataclass(frozen=True)
class Memory:
    """In MiB, for each component with all of its processes: before the run, and while all tasks wait."""

    idle: Mapping[str, float]
    waiting: Mapping[str, float]
    load: float

    def growth(self, component: str) -> float:
        return self.waiting[component] - self.idle[component]


def measure(folder: Path, *, width: int, rounds: int) -> Report:
    """Let *width* steps, and as many bare operators, wait for pods on an Airflow of their own.

    That is done *rounds* times. The cluster is that of the tests, and must have pretended nodes with the
    label ``pool=cpu``. Raises RuntimeError without a cluster.
    """
    if not (kubeconfig := os.environ.get(KUBECONFIG_PATH)):
        raise RuntimeError(f"no Kubernetes cluster: set {KUBECONFIG_PATH} to the path of a kubeconfig")
    found: dict[str, list[Memory]] = {STEPS: [], PODS: []}
    for number in range(1, rounds + 1):
        for dag_id, memories in found.items():
            memories.append(memory := _measured(folder, dag_id, Cluster(Path(kubeconfig)), width))
            grown = ", ".join(f"{name} {memory.growth(name):+.0f} MiB" for name in COMPONENTS)
            say(f"round {number} of {rounds}, {dag_id}: {grown}")
    return Report(
        name="deferred_pods",
        settings={
            "executor": "LocalExecutor",
            "database": "SQLite",
            "parallelism": 4,
            "width": width,
            "rounds": rounds,
            "load_average": [memory.load for memories in found.values() for memory in memories],
        },
        comparisons=list(_comparisons(found, width)),
    )


def _comparisons(found: Mapping[str, list[Memory]], width: int) -> Iterator[Comparison]:
    for name in COMPONENTS:
        for what, of in {
            "": lambda memory, name=name: memory.waiting[name],
            ", growth": lambda memory, name=name: memory.growth(name),
        }.items():
            ours, bare = (list(map(of, found[dag_id])) for dag_id in (STEPS, PODS))
            yield Comparison(f"{name}, {width} pods{what}", "KubernetesPodOperator", "MiB", ours, bare)


def _measured(folder: Path, dag_id: str, cluster: Cluster, width: int) -> Memory:
    with new_namespace(cluster) as namespace:
        variables = {
            "BENCHMARK_IMAGE": IMAGE,
            "BENCHMARK_KUBECONFIG": str(cluster.kubeconfig),
            "BENCHMARK_NAMESPACE": namespace,
            "BENCHMARK_WIDTH": str(width),
            "AIRFLOW__MLPIPE__DATASTORE": f"file://{folder}/store",
        }
        with WarmAirflow(folder, [dag_id], variables) as airflow:
            time.sleep(SETTLING_SECONDS)
            idle = _memory(airflow)
            run_id = airflow.trigger(dag_id)
            _await_pods(airflow, dag_id, run_id, width, cluster, namespace)
            time.sleep(SETTLING_SECONDS)
            return Memory(idle, _memory(airflow), load())


def _await_pods(
    airflow: WarmAirflow, dag_id: str, run_id: str, width: int, cluster: Cluster, namespace: str
) -> None:
    """Return once all tasks are deferred and all pods run. Raises RuntimeError and TimeoutError."""
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        airflow.check()
        states = [task["state"] for task in airflow.task_instances(dag_id, run_id)]
        if ended := {"failed", "success", "up_for_retry"} & set(states):
            raise RuntimeError(f"{dag_id}: a task that should wait is {ended.pop()}; see {airflow.home}/logs")
        pods = cluster.core.list_namespaced_pod(namespace).items
        running = [pod for pod in pods if pod.status.phase == "Running"]
        if states == ["deferred"] * width and len(running) == width:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{dag_id}: {states.count('deferred')} tasks wait for {len(running)} pods")
        time.sleep(POLL_SECONDS)


def _memory(airflow: WarmAirflow) -> dict[str, float]:
    """The memory of each component, pages that processes share counted once."""
    return {name: _of_tree(airflow.pid(component)) / MIB for name, component in COMPONENTS.items()}


def _of_tree(pid: int) -> float:
    parent, total = psutil.Process(pid), 0.0
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total
