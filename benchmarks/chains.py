"""Wall seconds per task of chains on a warm Airflow: our steps beside Airflow's own tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Comparison, Report, load
from benchmarks.warm_airflow import WarmAirflow, epoch
from tools.console import say

RUN_SECONDS = 900.0


@dataclass(frozen=True)
class Kind:
    """One kind of chain: a DAG, and the conf that a run of it gets."""

    name: str
    dag_id: str
    conf: Mapping[str, Any] = field(default_factory=dict, hash=False)


EMPTY = Kind("empty @task", "empty_task")
REUSED = Kind("reused step", "steps")
EXTERNAL = Kind("@task.external_python", "external_python")
EXECUTED = Kind("executed step", "steps", {"mlpipe": {"reuse": "refresh"}})
DAGS = (EMPTY, REUSED, EXTERNAL)
KINDS = (EMPTY, REUSED, EXTERNAL, EXECUTED)  # each of ours right behind its baseline
PAIRS = ((REUSED, EMPTY, 1.15), (EXECUTED, EXTERNAL, 1.20))


@dataclass(frozen=True)
class ChainRun:
    """One run of a chain; times in seconds.

    ``per_task`` is the wall time from the end of the first task to that of the last, by the number of tasks
    between: scheduling is in it. ``within`` is from start to end of each task, ``cpu`` what its process and
    their children used.
    """

    per_task: float
    within: list[float]
    cpu: list[float]
    requests: list[Mapping[str, int]]
    imported: list[list[str]]
    load: float


def measure(folder: Path, *, length: int, rounds: int, idle_sleep: float | None) -> Report:
    """Run empty tasks and reused steps in turns, *rounds* times each, after once to warm up.

    Steps that are executed and their baseline, which takes minutes, get half as many rounds. *idle_sleep* is
    how long, in seconds, the scheduler rests between looks; None is Airflow's default of 1.
    """
    variables = {"BENCHMARK_FOLDER": str(folder / "external"), "BENCHMARK_LENGTH": str(length)}
    with WarmAirflow(folder, [kind.dag_id for kind in DAGS], variables, idle_sleep) as airflow:
        chains = _Chains(airflow, length)
        for kind in (EMPTY, EXECUTED, REUSED):  # from the second on, there is something to reuse
            chains.run(kind)
        runs: defaultdict[Kind, list[ChainRun]] = defaultdict(list)
        for number in range(1, rounds + 1):
            for kind in KINDS if number % 2 else KINDS[:2]:
                runs[kind].append(run := chains.run(kind))
                say(f"round {number} of {rounds}, {kind.name}: {run.per_task:.3f} s per task")
    return Report(
        name="chains" if idle_sleep is None else "chains_busy_scheduler",
        settings={
            "executor": "LocalExecutor",
            "database": "SQLite",
            "scheduler_idle_sleep_time": 1.0 if idle_sleep is None else idle_sleep,
            "parallelism": 4,
            "chain_length": length,
            "rounds": rounds,
            "load_average": [run.load for kind in KINDS for run in runs[kind]],
        },
        comparisons=list(_comparisons(runs)),
        details={kind.name: _details(runs[kind]) for kind in KINDS},
    )


class _Chains:
    """Runs chains, one at a time."""

    def __init__(self, airflow: WarmAirflow, length: int) -> None:
        self._airflow = airflow
        self._length = length

    def run(self, kind: Kind) -> ChainRun:
        """One run of the chain; RuntimeError when it did not succeed, or did not do what its kind says."""
        run_id = self._airflow.run_dag(kind.dag_id, kind.conf, RUN_SECONDS)["dag_run_id"]
        tasks, notes = self._airflow.task_instances(kind.dag_id, run_id), self._airflow.notes(run_id)
        if len(tasks) != self._length or len(notes) != self._length:
            raise RuntimeError(
                f"{kind.name}: {len(tasks)} tasks and {len(notes)} notes instead of {self._length}"
            )
        if kind in (REUSED, EXECUTED):
            last = f"task_{self._length - 1:02}"
            self._airflow.check_action(kind.dag_id, run_id, last, "ran" if kind is EXECUTED else "reused")
        ends = sorted(epoch(task["end_date"]) for task in tasks)
        return ChainRun(
            per_task=(ends[-1] - ends[0]) / (len(ends) - 1),
            within=[float(task["duration"]) for task in tasks],
            cpu=[note["cpu_seconds"] + note["child_cpu_seconds"] for note in notes],
            requests=[note["requests"] for note in notes],
            imported=[note["imported"] for note in notes],
            load=load(),
        )


def _comparisons(runs: Mapping[Kind, list[ChainRun]]) -> Iterator[Comparison]:
    for ours, baseline, aim in PAIRS:
        mine, theirs = runs[ours], runs[baseline]
        yield Comparison(
            f"{ours.name}, wall per task",
            baseline.name,
            "s",
            [run.per_task for run in mine],
            [run.per_task for run in theirs],
            aim,
        )
        yield Comparison(
            f"{ours.name}, within the task",
            baseline.name,
            "s",
            [seconds for run in mine for seconds in run.within],
            [seconds for run in theirs for seconds in run.within],
        )
        yield Comparison(
            f"{ours.name}, CPU of the task",
            baseline.name,
            "CPU s",
            [seconds for run in mine for seconds in run.cpu],
            [seconds for run in theirs for seconds in run.cpu],
        )


def _details(runs: list[ChainRun]) -> dict[str, Any]:
    """Requests to Airflow's API and modules imported, of a task in the middle of the last chain."""
    last = runs[-1]
    middle = len(last.requests) // 2
    packages = Counter(name.partition(".")[0] for name in last.imported[middle])
    return {
        "requests": dict(sorted(last.requests[middle].items())),
        "modules_imported": dict(packages.most_common(8)),
        "median_per_task": median(run.per_task for run in runs),
    }
