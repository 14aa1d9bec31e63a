"""Wall seconds of a fan-out on a warm Airflow: reused mapped steps beside mapped tasks of Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Comparison, Report, load
from benchmarks.warm_airflow import WarmAirflow, epoch
from tools.console import say

STEPS, TASKS = "fan_out_steps", "fan_out_tasks"
RUN_SECONDS = 1800.0


@dataclass(frozen=True)
class FanOut:
    """One run; times in seconds. ``within`` and ``cpu`` are those of each mapped task."""

    wall: float
    within: list[float]
    cpu: list[float]
    requests: Mapping[str, int]
    load: float


def measure(folder: Path, *, width: int, rounds: int) -> Report:
    """Run both pipelines *rounds* times in turns, after once for the outputs that are then reused."""
    with WarmAirflow(folder, [STEPS, TASKS], {"BENCHMARK_WIDTH": str(width)}) as airflow:
        fan_outs = _FanOuts(airflow, width)
        fan_outs.run(TASKS)
        first = fan_outs.run(STEPS, "ran")
        say(f"first run of the steps: {first.wall:.1f} s")
        steps, tasks = [], []
        for number in range(1, rounds + 1):
            tasks.append(fan_outs.run(TASKS))
            steps.append(fan_outs.run(STEPS, "reused"))
            say(f"round {number} of {rounds}: {steps[-1].wall:.1f} s beside {tasks[-1].wall:.1f} s")
    return Report(
        name="fan_out",
        settings={
            "executor": "LocalExecutor",
            "database": "SQLite",
            "parallelism": 4,
            "width": width,
            "rounds": rounds,
            "load_average": [run.load for run in [*steps, *tasks]],
        },
        comparisons=list(_comparisons(steps, tasks, width)),
        details={
            "first_run_seconds": first.wall,
            "requests of a mapped step": dict(steps[-1].requests),
            "requests of a mapped task": dict(tasks[-1].requests),
        },
    )


class _FanOuts:
    """Runs one of the two pipelines."""

    def __init__(self, airflow: WarmAirflow, width: int) -> None:
        self._airflow = airflow
        self._width = width

    def run(self, dag_id: str, action: str | None = None) -> FanOut:
        """One run; RuntimeError unless it succeeded and each step's decision was *action*."""
        run = self._airflow.run_dag(dag_id, {}, RUN_SECONDS)
        run_id = run["dag_run_id"]
        tasks = self._airflow.task_instances(dag_id, run_id)
        mapped = [task for task in tasks if task["map_index"] >= 0]
        if len(mapped) != self._width:
            raise RuntimeError(f"{dag_id}: {len(mapped)} mapped instances instead of {self._width}")
        if action is not None:
            for task in tasks:
                self._airflow.check_action(dag_id, run_id, task["task_id"], action, task["map_index"])
        notes = [note for note in self._airflow.notes(run_id) if note["task_id"] == "score"]
        return FanOut(
            wall=epoch(run["end_date"]) - epoch(run["start_date"]),
            within=[float(task["duration"]) for task in mapped],
            cpu=[note["cpu_seconds"] + note["child_cpu_seconds"] for note in notes],
            requests=notes[len(notes) // 2]["requests"],
            load=load(),
        )


def _comparisons(steps: Sequence[FanOut], tasks: Sequence[FanOut], width: int) -> Iterator[Comparison]:
    def compare(name: str, unit: str, value: Any, aim: float | None = None) -> Comparison:
        return Comparison(name, "mapped @task", unit, list(map(value, steps)), list(map(value, tasks)), aim)

    yield compare(f"1 -> {width} -> 1, reused, wall", "s", lambda run: run.wall, 1.15)
    yield compare("within a mapped task", "s", lambda run: median(run.within))
    yield compare("CPU of a mapped task", "CPU s", lambda run: median(run.cpu))
