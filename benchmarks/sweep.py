"""A thousand mapped steps through Airflow's limits, and whether the scheduler stays awake meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Comparison, Report, load
from benchmarks.warm_airflow import WarmAirflow, epoch
from tools.console import say

STEPS, TASKS = "sweep_steps", "sweep_tasks"
LOOKED_AT = 20  # instances of each sweep whose decision is looked at
RUN_SECONDS = 3600.0
# [scheduler] scheduler_health_check_threshold: a scheduler that is silent for longer is taken for dead.
HEALTHY_SECONDS = 30.0


class SchedulerPulse:
    """Listens for the scheduler's heartbeats; ``longest_silence`` is in seconds, between two of them."""

    def __init__(self, airflow: WarmAirflow) -> None:
        self._airflow = airflow
        self._last: float | None = None
        self.longest_silence = 0.0

    def listen(self) -> None:
        """Take the newest heartbeat down."""
        health = self._airflow.request("GET", "/api/v2/monitor/health")
        beat = epoch(health["scheduler"]["latest_scheduler_heartbeat"])
        if self._last is not None:
            self.longest_silence = max(self.longest_silence, beat - self._last)
        self._last = beat


@dataclass(frozen=True)
class Sweep:
    """One run; times in seconds."""

    wall: float
    silence: float
    load: float


def measure(folder: Path, *, width: int, chunk: int) -> Report:
    """Run the sweep of *width* instances, *chunk* at a time, twice, and its baseline once."""
    variables = {"BENCHMARK_WIDTH": str(width), "BENCHMARK_CHUNK": str(chunk)}
    with WarmAirflow(folder, [STEPS, TASKS], variables) as airflow:
        first = _run(airflow, STEPS, width, "ran")
        tasks = _run(airflow, TASKS, width)
        again = _run(airflow, STEPS, width, "reused")
    runs: Mapping[str, Sweep] = {"first run": first, "mapped @task": tasks, "reused": again}
    return Report(
        name="sweep",
        settings={
            "executor": "LocalExecutor",
            "database": "SQLite",
            "parallelism": 4,
            "width": width,
            "chunk": chunk,
            "load_average": {name: run.load for name, run in runs.items()},
        },
        comparisons=[
            Comparison(f"{width} reused, wall", "one mapped @task", "s", [again.wall], [tasks.wall]),
            Comparison(f"{width} executed, wall", "one mapped @task", "s", [first.wall], [tasks.wall]),
            *(
                Comparison(
                    f"longest silence of the scheduler, {name}",
                    "taken for dead",
                    "s",
                    [run.silence],
                    [HEALTHY_SECONDS],
                    aim=None if run is tasks else 1.0,
                )
                for name, run in runs.items()
            ),
        ],
    )


def _run(airflow: WarmAirflow, dag_id: str, width: int, action: str | None = None) -> Sweep:
    """One run; RuntimeError unless it succeeded with *width* instances, whose decision was *action*."""
    pulse = SchedulerPulse(airflow)
    run = airflow.run_dag(dag_id, {}, RUN_SECONDS, pulse.listen)
    run_id = run["dag_run_id"]
    mapped = [task for task in airflow.task_instances(dag_id, run_id) if task["map_index"] >= 0]
    if len(mapped) != width:
        raise RuntimeError(f"{dag_id}: {len(mapped)} mapped instances instead of {width}")
    if action is not None:
        for task in mapped[:: max(1, width // LOOKED_AT)]:
            airflow.check_action(dag_id, run_id, task["task_id"], action, task["map_index"])
    swept = Sweep(epoch(run["end_date"]) - epoch(run["start_date"]), pulse.longest_silence, load())
    say(f"{dag_id}: {swept.wall:.1f} s, the scheduler silent for {swept.silence:.1f} s at most")
    return swept
