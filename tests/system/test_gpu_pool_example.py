"""The example of a GPU pool, on a whole Airflow and a real cluster with nodes that advertise GPUs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines import Cluster, image_name
from tools.airflow_instance import AirflowInstance

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
DAG = "train_on_gpu_pool"
STEPS = ("prepare", "train")
NODES = {"cpu_nodes": "pool=real", "gpu_pool": "pool=realgpu"}


@pytest.fixture
def example(airflow: AirflowInstance, kubernetes: Cluster, namespace: str, docker_host: str) -> None:
    """The example among the DAGs, with targets of this cluster; its steps are waited for in the triggerer."""
    shutil.copytree(EXAMPLES / "gpu_pool", airflow.dags_folder / "gpu_pool")
    written = (EXAMPLES / f"{DAG}.py").read_text("utf8")
    assert written.count("schedule=None") == 1
    deferrable = written.replace("schedule=None", "schedule=None, default_args={'deferrable': True}")
    targets = yaml.safe_load((EXAMPLES / "gpu_pool" / "on_kubernetes.yaml").read_text("utf8"))
    for name, pool in NODES.items():
        targets[name].update(here(kubernetes, namespace, airflow.home), node_pool=pool)
    Path(airflow.environment["AIRFLOW__MLPIPE__COMPUTE_TARGETS"]).write_text(yaml.safe_dump(targets))
    (airflow.dags_folder / f"{DAG}.py").write_text(deferrable)
    airflow.wait_for_dag(DAG)


def here(kubernetes: Cluster, namespace: str, shared: Path) -> dict[str, Any]:
    """What the file of targets has to say of this cluster, whose pods find the folder *shared*."""
    # The datastore is a folder of the worker's: pods write there as its user does.
    user = {"run_as_root": True} if os.geteuid() == 0 else {"run_as_user": os.geteuid()}
    return {
        **user,
        "image": image_name(),
        "image_pull_policy": "IfNotPresent",
        "namespace": namespace,
        "kubernetes_conn_id": None,
        "config_file": str(kubernetes.kubeconfig),
        "volumes": [{"mount_path": str(shared), "host_path": str(shared)}],
        "cpu": "100m",
        "memory": "128Mi",
    }


def test_training_runs_in_the_gpu_pool_and_a_second_run_starts_no_pod_at_all(
    airflow: AirflowInstance, example: None, kubernetes: Cluster, namespace: str
) -> None:
    first = run(airflow)
    assert [first[step]["action"] for step in STEPS] == ["ran", "ran"], first
    assert placed(kubernetes, namespace) == {"prepare": "node1", "train": "gpunode1"}
    assert "test points are told apart" in airflow.log_text(DAG, first["run_id"], "train")

    second = run(airflow)
    assert [second[step]["action"] for step in STEPS] == ["reused", "reused"]
    # Events outlive their pods: another pod of the second run would be a third one here.
    assert placed(kubernetes, namespace) == {"prepare": "node1", "train": "gpunode1"}
    assert kubernetes.core.list_namespaced_pod(namespace).items == []


def run(airflow: AirflowInstance) -> dict[str, Any]:
    """Trigger a run, wait for its success, and return its id and the decision of each step."""
    run_id = airflow.trigger(DAG)
    assert airflow.wait_for_run(DAG, run_id) == "success"
    return {"run_id": run_id, **{step: airflow.xcom(DAG, run_id, step, "mlpipe_decision") for step in STEPS}}


def placed(kubernetes: Cluster, namespace: str) -> dict[str, str]:
    """The node of every step whose pod was ever given one; a step has one pod."""
    events = kubernetes.core.list_namespaced_event(namespace).items
    scheduled = [event for event in events if event.reason == "Scheduled"]
    assert len(scheduled) == len({event.involved_object.name for event in scheduled}) <= len(STEPS)
    nodes = {event.involved_object.name: event.message.rsplit(" ", 1)[-1] for event in scheduled}
    return {step: node for step in STEPS for pod, node in nodes.items() if step in pod}
