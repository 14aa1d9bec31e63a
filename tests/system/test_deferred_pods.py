"""Steps that run in pods while no worker waits for them, on a real scheduler, triggerer and cluster."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.run_record import RunRecords
from tests.engines import Cluster, image_name
from tools.airflow_instance import AirflowInstance

pytestmark = pytest.mark.system

DAG = """
from airflow.sdk import DAG
from airflow_mlpipe import KubernetesTarget, PipelineData, PythonScriptStep, Volume

with DAG("{dag_id}", schedule=None):
    PythonScriptStep(
        task_id="work", source_directory="{dag_id}_src", script_name="work.py",
        arguments=[PipelineData("made")], deferrable=True, {keywords}
        compute_target=KubernetesTarget(
            image="{image}", namespace="{namespace}", config_file="{kubeconfig}", node_pool="pool=real",
            run_as_root=True, volumes=(Volume(mount_path="{home}", host_path="{home}"),),
        ),
    )
"""

SCRIPT = """
import pathlib, sys, time
for number in range(100000):
    print("line", number, flush=True)
    time.sleep(0.05)
    if pathlib.Path({go!r}).exists():
        break
print("the last is", number)
pathlib.Path(sys.argv[1]).write_text("made")
"""


@pytest.fixture
def deferred(airflow: AirflowInstance, kubernetes: Cluster, namespace: str) -> Callable[..., Path]:
    """Makes the DAG of a name, whose step prints until a file exists; the path of that file."""

    def make(dag_id: str, keywords: str = "") -> Path:
        go = airflow.home / f"{dag_id}.go"
        source = airflow.dags_folder / f"{dag_id}_src"
        source.mkdir()
        (source / "work.py").write_text(SCRIPT.format(go=str(go)))
        values = {"namespace": namespace, "kubeconfig": kubernetes.kubeconfig, "home": airflow.home}
        text = DAG.format(dag_id=dag_id, image=image_name(), keywords=keywords, **values)
        (airflow.dags_folder / f"{dag_id}.py").write_text(textwrap.dedent(text))
        airflow.wait_for_dag(dag_id)
        return go

    return make


def printed(airflow: AirflowInstance, dag_id: str, run: str) -> list[str]:
    """The lines of the step that its task log shows."""
    if airflow.task_instances(dag_id, run)[0]["try_number"] == 0:
        return []  # Airflow knows of no log before a task has begun
    lines = airflow.log_text(dag_id, run, "work").splitlines()
    return [line[line.index("line ") :] for line in lines if "line " in line and line.split()[-2] == "line"]


def until_printing(airflow: AirflowInstance, dag_id: str, run: str, more_than: int = 0) -> int:
    def shown() -> int | None:
        found = len(printed(airflow, dag_id, run))
        return found if found > more_than else None

    return airflow.wait_until(shown, lambda: f"{dag_id} to print more than {more_than} lines", 120)


def test_a_triggerer_that_is_restarted_goes_on_with_the_log_where_it_stopped(
    airflow: AirflowInstance, deferred: Callable[..., Path]
) -> None:
    go = deferred("deferred_pod")
    run = airflow.trigger("deferred_pod")
    shown = until_printing(airflow, "deferred_pod", run)
    assert [task["state"] for task in airflow.task_instances("deferred_pod", run)] == ["deferred"]
    airflow.restart("triggerer")
    until_printing(airflow, "deferred_pod", run, shown + 20)
    go.touch()
    assert airflow.wait_for_run("deferred_pod", run) == "success"
    text = airflow.log_text("deferred_pod", run, "work")
    lines = printed(airflow, "deferred_pod", run)
    assert not [(place, line) for place, line in enumerate(lines) if line != f"line {place}"][:5]
    assert f"the last is {len(lines) - 1}" in text


def test_a_deferred_step_that_is_marked_or_whose_time_is_over_is_ended_and_the_record_says_how(
    airflow: AirflowInstance, deferred: Callable[..., Path], kubernetes: Cluster, namespace: str
) -> None:
    marks = {"deferred_failed": "failed", "deferred_done": "success"}
    for dag_id in marks:
        deferred(dag_id)
    deferred("deferred_overdue", "timeout=20,")
    overdue, runs = airflow.trigger("deferred_overdue"), {dag_id: airflow.trigger(dag_id) for dag_id in marks}
    for dag_id, state in marks.items():
        until_printing(airflow, dag_id, runs[dag_id])
        airflow.mark(dag_id, runs[dag_id], "work", state)
    assert airflow.wait_for_run("deferred_overdue", overdue) == "failed"
    assert "ran for longer than 20 s" in airflow.log_text("deferred_overdue", overdue, "work")
    airflow.wait_until(
        lambda: not kubernetes.core.list_namespaced_pod(namespace).items or None, lambda: "the pods to go", 60
    )
    records = RunRecords(Datastore.open(f"file://{airflow.home}/mlpipe"))
    recorded = {"deferred_failed": "failed", "deferred_done": "marked"}

    def statuses() -> dict[str, str]:
        found = {dag_id: records.read(dag_id, runs[dag_id], "work") for dag_id in marks}
        return {dag_id: record.status for dag_id, record in found.items() if record is not None}

    airflow.wait_until(
        lambda: statuses() == recorded or None, lambda: f"the records to say {recorded}, not {statuses()}", 60
    )
