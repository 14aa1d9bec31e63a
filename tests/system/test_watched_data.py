"""Runs that start by themselves when data changes: scheduler, triggerer, and a bucket behind a connection."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.services import ObjectStore
from tools.airflow_instance import AirflowInstance

pytestmark = pytest.mark.system

DAG_FILE = """
    from pathlib import Path

    from airflow.sdk import dag, task

    from airflow_mlpipe import Dataset, Datastore, Input, changed_data, step, watched_data

    ARRIVALS = Datastore.default().path("arrivals/")
    HERE = watched_data(ARRIVALS, poll_interval=1, settle=0.2, existing=True, name="here")
    THERE = watched_data("datastore://lake/raw/", poll_interval=1, existing=True, name="there")


    @step
    def count(arrived: Input[Path]) -> int:
        return len(arrived.read_text())


    @step
    def total(everything: Input[Path]) -> int:
        return sum(len(path.read_text()) for path in everything.rglob("*.csv"))


    @task
    def told(paths):
        return paths


    @dag(schedule=[HERE])
    def arrived_here():
        changed = changed_data(HERE)
        told(changed["paths"])
        count.expand(arrived=changed)
        total(Dataset.File.from_files(ARRIVALS))


    @dag(schedule=[THERE])
    def arrived_there():
        told(changed_data(THERE)["paths"])


    arrived_here()
    arrived_there()
"""


def test_new_data_starts_a_run_by_itself_and_the_same_bytes_start_one_that_reuses_everything(
    airflow: AirflowInstance, s3: ObjectStore
) -> None:
    arrivals = airflow.home / "mlpipe" / "arrivals"
    put(arrivals / "2026/a.csv", "roses")
    s3.filesystem().pipe(f"{s3.bucket}/raw/far.csv", b"lilies")
    add_connection(airflow, "lake", s3)
    (airflow.dags_folder / "data_driven.py").write_text(textwrap.dedent(DAG_FILE).lstrip())
    for dag_id in ("arrived_here", "arrived_there"):
        airflow.wait_for_dag(dag_id)

    (far,) = successful_runs(airflow, "arrived_there", 1)
    # The triggerer had the bucket opened by what the connection says.
    assert airflow.xcom("arrived_there", far, "told") == ["datastore://lake/raw/far.csv"]
    (first,) = successful_runs(airflow, "arrived_here", 1)
    assert airflow.xcom("arrived_here", first, "told") == ["datastore://default/arrivals/2026/a.csv"]
    assert actions(airflow, first) == {"count": "ran", "total": "ran"}

    wait_until_told(airflow, "here", "there")
    airflow.restart("triggerer")
    put(arrivals / "2026/a.csv", "roses")
    second = successful_runs(airflow, "arrived_here", 2)[-1]
    assert airflow.xcom("arrived_here", second, "told") == ["datastore://default/arrivals/2026/a.csv"]
    assert actions(airflow, second) == {"count": "reused", "total": "reused"}
    why = f"reused outputs of arrived_here/{first}/total"
    assert why in airflow.log_text("arrived_here", second, "total")
    assert successful_runs(airflow, "arrived_there", 1) == [far]


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def add_connection(airflow: AirflowInstance, name: str, store: ObjectStore) -> None:
    """Let *name* be a datastore, as somebody does who fills in the form of the web UI."""
    options = store.options
    client = options["client_kwargs"]
    extra = {"url": store.url, "endpoint": client["endpoint_url"], "region": client["region_name"]}
    connection = {
        "connection_id": name,
        "conn_type": "mlpipe_datastore",
        "login": options["key"],
        "password": options["secret"],
        "extra": json.dumps(extra),
    }
    airflow.request("POST", "/api/v2/connections", connection)


def successful_runs(airflow: AirflowInstance, dag_id: str, count: int) -> list[str]:
    """The ids of all runs of the DAG, oldest first, once there are *count* that succeeded."""

    def finished() -> list[str] | None:
        path = f"/api/v2/dags/{dag_id}/dagRuns?order_by=run_after"
        runs: list[dict[str, Any]] = airflow.request("GET", path)["dag_runs"]
        assert not [run for run in runs if run["state"] == "failed"]
        done = [run["dag_run_id"] for run in runs if run["state"] == "success"]
        return done if len(done) >= count else None

    return airflow.wait_until(finished, lambda: f"{count} runs of {dag_id}", 120)


def wait_until_told(airflow: AirflowInstance, *assets: str) -> None:
    """Return when the first change of each of these counts as told."""
    for name in assets:
        found = airflow.request("GET", "/api/v2/assets")["assets"]
        (asset,) = (asset for asset in found if asset["name"] == name)
        path = f"/api/v2/assets/{asset['id']}/state-store/mlpipe_bookmark"

        def is_told(path: str = path) -> bool | None:
            return airflow.request("GET", path)["value"]["sequence"] == 1 or None

        airflow.wait_until(is_told, lambda name=name: f"the change of {name} to be told", 60)  # type: ignore[misc]


def actions(airflow: AirflowInstance, run_id: str) -> dict[str, str]:
    places = {"count": 0, "total": -1}
    return {
        task: airflow.xcom("arrived_here", run_id, task, "mlpipe_decision", index)["action"]
        for task, index in places.items()
    }
