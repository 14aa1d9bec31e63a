"""The link from a task instance to the run that made its outputs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink


@attrs.define
class ProducerLink(BaseOperatorLink):
    """Leads from a task instance that reused outputs to the one that made them."""

    name = "Producer"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """A path of the web UI; empty unless the step has reused outputs."""
        decided = getattr(operator, "decided", None)
        if not decided or decided["action"] != "reused":
            return ""
        made_by = decided["producer"]
        dag, run, task = (quote(made_by[key], safe="") for key in ("dag_id", "run_id", "task_id"))
        path = f"/dags/{dag}/runs/{run}/tasks/{task}"
        return path if made_by["map_index"] < 0 else f"{path}/mapped/{made_by['map_index']}"
