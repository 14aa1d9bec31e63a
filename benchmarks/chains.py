"""Wall seconds per task of chains on a warm Airflow: our steps beside Airflow's own tasks."""

from __future__ import annotations

import compileall
import json
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import airflow_mlpipe
from benchmarks.report import Comparison, Report, load
from tools.airflow_instance import AirflowInstance
from tools.console import say

HERE = Path(__file__).resolve().parent
POLL_SECONDS = 1.0  # asking more often would take the processor from what is measured
RUN_SECONDS = 900.0

# What AirflowInstance sets for tests that must see an edit at once, back to Airflow's defaults.
DEFAULTS = {
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "True",
}


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
    with _WarmAirflow(folder, length, idle_sleep) as airflow:
        chains = _Chains(airflow, folder / "notes.jsonl", length)
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


class _WarmAirflow(AirflowInstance):
    """An Airflow with the DAGs of this benchmark, which compiled modules spare from compiling any."""

    def __init__(self, folder: Path, length: int, idle_sleep: float | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "airflow" / "plugins").mkdir(parents=True)
        shutil.copy(HERE / "task_probe.py", folder / "airflow" / "plugins")
        # pip compiles what it installs; a checkout is compiled by whoever imports it, if that may write.
        compileall.compile_dir(Path(airflow_mlpipe.__file__).parent, quiet=1)
        settings = {
            **DEFAULTS,
            "BENCHMARK_FOLDER": str(folder / "external"),
            "BENCHMARK_LENGTH": str(length),
            "BENCHMARK_TASK_NOTES": str(folder / "notes.jsonl"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        super().__init__(folder / "airflow", folder / "dags", settings=settings, idle_sleep=idle_sleep)

    def start(self) -> None:
        super().start()
        for kind in KINDS:
            self.wait_for_dag(kind.dag_id, timeout=120)


class _Chains:
    """Runs chains, one at a time."""

    def __init__(self, airflow: AirflowInstance, notes: Path, length: int) -> None:
        self._airflow = airflow
        self._notes = notes
        self._length = length

    def run(self, kind: Kind) -> ChainRun:
        """One run of the chain; RuntimeError when it did not succeed, or did not do what its kind says."""
        run_id = self._airflow.trigger(kind.dag_id, conf=dict(kind.conf))
        self._wait(kind, run_id)
        tasks = self._airflow.task_instances(kind.dag_id, run_id)
        notes = [note for note in self._read_notes() if note["run_id"] == run_id]
        if len(tasks) != self._length or len(notes) != self._length:
            raise RuntimeError(
                f"{kind.name}: {len(tasks)} tasks and {len(notes)} notes instead of {self._length}"
            )
        if kind in (REUSED, EXECUTED):
            self._check_decisions(kind, run_id)
        ends = sorted(_epoch(task["end_date"]) for task in tasks)
        return ChainRun(
            per_task=(ends[-1] - ends[0]) / (len(ends) - 1),
            within=[float(task["duration"]) for task in tasks],
            cpu=[note["cpu_seconds"] + note["child_cpu_seconds"] for note in notes],
            requests=[note["requests"] for note in notes],
            imported=[note["imported"] for note in notes],
            load=load(),
        )

    def _wait(self, kind: Kind, run_id: str) -> None:
        deadline = time.monotonic() + RUN_SECONDS
        path = f"/api/v2/dags/{kind.dag_id}/dagRuns/{run_id}"
        while (state := self._airflow.request("GET", path)["state"]) in ("queued", "running"):
            self._airflow.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{kind.name}: run {run_id} has not ended after {RUN_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        if state != "success":
            raise RuntimeError(f"{kind.name}: run {run_id} ended as {state}; see {self._airflow.home}/logs")

    def _read_notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    def _check_decisions(self, kind: Kind, run_id: str) -> None:
        task_id = f"task_{self._length - 1:02}"
        decision = self._airflow.xcom(kind.dag_id, run_id, task_id, "mlpipe_decision")
        expected = "ran" if kind is EXECUTED else "reused"
        if decision["action"] != expected:
            raise RuntimeError(f"{kind.name}: {task_id} {decision['action']}: {decision['reason']}")


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


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
