"""An Airflow plugin that notes what each task's process cost: a line of JSON for each task.

It is copied into the plugins folder of the measured Airflow, so it imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.execution_time.comms import CommsDecoder

requests: Counter[str] = Counter()
inherited: frozenset[str] = frozenset()


def _counted(send: Any) -> Any:
    def counting(self: Any, msg: Any) -> Any:
        requests[type(msg).__name__] += 1
        return send(self, msg)

    return counting


class Listener:
    """Hears of the beginning and the end of each task's process."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        global inherited
        inherited = frozenset(sys.modules)
        CommsDecoder.send = _counted(CommsDecoder.send)  # type: ignore[method-assign]

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        used = os.times()
        imported = sorted(name for name in sys.modules if name not in inherited)
        line = {
            "dag_id": os.environ.get("AIRFLOW_CTX_DAG_ID"),
            "run_id": os.environ.get("AIRFLOW_CTX_DAG_RUN_ID"),
            "task_id": os.environ.get("AIRFLOW_CTX_TASK_ID"),
            "cpu_seconds": used.user + used.system,
            "child_cpu_seconds": used.children_user + used.children_system,
            "requests": dict(requests),
            "imported": imported,
        }
        with open(os.environ["BENCHMARK_TASK_NOTES"], "a") as notes:  # noqa: PTH123 - one write is one line
            notes.write(json.dumps(line) + "\n")


class TaskProbe(AirflowPlugin):
    name = "task_probe"
    listeners = [Listener()]  # noqa: RUF012 - Airflow's way
