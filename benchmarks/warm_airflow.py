"""A whole Airflow to measure with: its own defaults, compiled modules, and a note on each task's process."""

from __future__ import annotations

import compileall
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import airflow_mlpipe
from tools.airflow_api import Document
from tools.airflow_instance import AirflowInstance

HERE = Path(__file__).resolve().parent
POLL_SECONDS = 1.0  # asking more often would take the processor from what is measured

# What AirflowInstance sets for tests that must see an edit at once, back to Airflow's defaults.
DEFAULTS = {
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "True",
}


class WarmAirflow(AirflowInstance):
    """An Airflow below *folder*, which is emptied, with the DAGs *dag_ids* from the files of those names.

    *variables* are for the DAG files. *idle_sleep* is how long, in seconds, the scheduler rests between
    looks; None is Airflow's default of 1.
    """

    def __init__(
        self,
        folder: Path,
        dag_ids: Sequence[str],
        variables: Mapping[str, str],
        idle_sleep: float | None = None,
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        dags, plugins = folder / "dags", folder / "airflow" / "plugins"
        shutil.copytree(HERE / "dags" / "step", dags / "step", ignore=shutil.ignore_patterns("__pycache__"))
        for dag_id in dag_ids:
            shutil.copy(HERE / "dags" / f"{dag_id}.py", dags)
        plugins.mkdir(parents=True)
        shutil.copy(HERE / "task_probe.py", plugins)
        # pip compiles what it installs; a checkout is compiled by whoever imports it, if that may write.
        compileall.compile_dir(Path(airflow_mlpipe.__file__).parent, quiet=1)
        self._dag_ids = dag_ids
        self._notes = folder / "notes.jsonl"
        settings = {
            **DEFAULTS,
            "BENCHMARK_TASK_NOTES": str(self._notes),
            "PYTHONDONTWRITEBYTECODE": "",
            **variables,
        }
        super().__init__(folder / "airflow", dags, settings=settings, idle_sleep=idle_sleep)

    def __enter__(self) -> WarmAirflow:
        super().__enter__()
        return self

    def start(self) -> None:
        super().start()
        for dag_id in self._dag_ids:
            self.wait_for_dag(dag_id, timeout=120)

    def run_dag(
        self,
        dag_id: str,
        conf: Mapping[str, Any],
        timeout: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Document:
        """The run of a DAG that has succeeded, as the API describes it; *meanwhile* is called at each look.

        Raises RuntimeError when it ends otherwise, and TimeoutError after *timeout* seconds.
        """
        run_id = self.trigger(dag_id, conf=dict(conf))
        deadline = time.monotonic() + timeout
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        while (run := self.request("GET", path))["state"] in ("queued", "running"):
            self.check()
            meanwhile()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id}: run {run_id} has not ended after {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        if run["state"] != "success":
            raise RuntimeError(f"{dag_id}: run {run_id} ended as {run['state']}; see {self.home}/logs")
        return run

    def notes(self, run_id: str) -> list[dict[str, Any]]:
        """What ``task_probe`` has noted of the tasks of a run."""
        notes = map(json.loads, self._notes.read_text().splitlines())
        return [note for note in notes if note["run_id"] == run_id]

    def check_action(self, dag_id: str, run_id: str, task_id: str, action: str, map_index: int = -1) -> None:
        """Raise RuntimeError unless the decision of a step was *action*, ``ran`` or ``reused``."""
        decision = self.xcom(dag_id, run_id, task_id, "mlpipe_decision", map_index)
        if decision["action"] != action:
            raise RuntimeError(f"{dag_id}: {task_id} {decision['action']}: {decision['reason']}")


def epoch(text: str) -> float:
    """A time as the API tells it, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
