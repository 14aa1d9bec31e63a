"""``airflow mlpipe target``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.typed import Typed

TARGETS = """\
a100:
  type: kubernetes
  image: train:7
  namespace: training
  gpus: 2
  node_pool: {provider: gke, name: a100}
  pool: gpus
  cost_per_hour: 3.5
anywhere: {type: kubernetes}
engine: {type: docker, image: "train:7", gpus: all, memory: 4g}
engine_elsewhere: {type: docker, image: "train:7", docker_url: "tcp://10.0.0.1:2376"}
far: {type: remote, ssh_conn_id: trainer}
"""


@pytest.fixture(autouse=True)
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets.yaml").write_text(TARGETS)
    monkeypatch.setenv("AIRFLOW__MLPIPE__COMPUTE_TARGETS", str(tmp_path / "targets.yaml"))


def test_all_targets_are_listed_with_what_they_offer(airflow_mlpipe: Callable[..., Typed]) -> None:
    rows = {row.pop("name"): row for row in airflow_mlpipe("target", "list", "-o", "json").json}
    assert rows["a100"] == {
        "type": "kubernetes",
        "image": "train:7",
        "gpus": 2,
        "pool": "gpus",
        "pool_slots": 2,
        "queue": None,
        "cost_per_hour": 3.5,
    }
    types = ["local", "kubernetes", "kubernetes", "docker", "docker", "remote"]
    assert [row["type"] for row in rows.values()] == types
    assert "a100" in airflow_mlpipe("target", "list").out


def test_what_is_shown_of_a_node_pool_is_a_pod_that_kubectl_takes(
    airflow_mlpipe: Callable[..., Typed],
) -> None:
    typed = airflow_mlpipe("target", "show", "a100")
    assert typed.out.startswith("# a pod of compute target 'a100'\n")
    pod = yaml.safe_load(typed.out)
    kubernetes_validate.validate(pod, "1.37", strict=True)
    assert pod["metadata"]["namespace"] == "training"
    assert pod["spec"]["nodeSelector"] == {"cloud.google.com/gke-nodepool": "a100"}
    assert pod["spec"]["containers"][0]["image"] == "train:7"
    shown = airflow_mlpipe("target", "show", "a100", "-o", "json").json
    assert shown["definition"] == pod
    assert (shown["launches"], shown["type"], shown["schema_version"]) == ("pod", "kubernetes", 1)
    assert shown["fields"]["cost_per_hour"] == 3.5


def test_what_only_the_step_or_the_connection_knows_is_said(airflow_mlpipe: Callable[..., Typed]) -> None:
    shown = airflow_mlpipe("target", "show", "anywhere", "-o", "yaml")
    document = yaml.safe_load(shown.out)
    assert "namespace" not in document["definition"]["metadata"]
    assert "the namespace is that of the connection 'kubernetes_default'" in document["notes"]
    assert "'image-of-the-environment' stands for the image of the step's environment" in document["notes"]


def test_other_targets_show_their_container_or_process(airflow_mlpipe: Callable[..., Typed]) -> None:
    container = airflow_mlpipe("target", "show", "engine", "-o", "json").json
    assert container["launches"] == "container"
    assert container["definition"]["HostConfig"]["Memory"] == 4 * 1024**3
    process = airflow_mlpipe("target", "show", "far", "-o", "json").json
    assert process["definition"] == {"ssh_conn_id": "trainer", "folder": "~/.mlpipe", "python": "python3"}
    assert (
        airflow_mlpipe("target", "show", "local", "-o", "json").json["definition"]["python"].startswith("/")
    )


def test_only_an_engine_of_this_machine_is_shown_folders_of_it(
    airflow_mlpipe: Callable[..., Typed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    here = airflow_mlpipe("target", "show", "engine", "-o", "json").json
    assert len(here["definition"]["HostConfig"]["Mounts"]) == 3
    elsewhere = airflow_mlpipe("target", "show", "engine_elsewhere", "-o", "json").json
    assert elsewhere["definition"]["HostConfig"]["Mounts"] == []
    assert elsewhere["notes"] == ["code and data come by way of the datastore"]


def test_a_name_that_is_not_in_the_file_is_a_sentence_and_exit_code_1(
    airflow_mlpipe: Callable[..., Typed],
) -> None:
    typed = airflow_mlpipe("target", "show", "h100")
    assert typed.code == 1
    assert typed.err.startswith("airflow mlpipe: compute target 'h100' is not in ")
    assert typed.err.endswith("known there: a100, anywhere, engine, engine_elsewhere, far, local\n")
