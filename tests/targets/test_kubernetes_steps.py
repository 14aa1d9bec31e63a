"""Steps whose target is a node pool of a real cluster, in DAG runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.pipeline.compute.kubernetes import ClusterAddress
from airflow_mlpipe.triggers.attempt import AttemptTrigger
from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles
from tests.engines import Cluster, image_name

pytestmark = pytest.mark.airflow

# Prints 40 lines, and waits for a word of the test in between; a test that fails is not to last for ever.
SCRIPT = """
import os, sys, time
latest = time.monotonic() + 300
for number in range(40):
    while number == 20 and time.monotonic() < latest and not os.path.exists(sys.argv[2]):
        time.sleep(0.05)
    print("line", number, flush=True)
    time.sleep(0.05)
open(sys.argv[1], "w").write("made")
"""
LINES = [f"line {number}" for number in range(40)]


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The file that the script waits for."""
    return tmp_path / "go"


@pytest.fixture
def step(
    dags: DagFiles,  # noqa: F811
    docker_host: str,
    kubernetes: Cluster,
    namespace: str,
    go: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The body of a DAG with the step ``make``, whose pods find the datastore; ``KEYWORDS`` is left open."""
    monkeypatch.setenv("DOCKER_HOST", docker_host)  # it tells which image the tag is
    dags.script("make.py", SCRIPT)
    return f"""
    from airflow_mlpipe import KubernetesTarget, Volume

    pool = KubernetesTarget(
        image={image_name()!r}, namespace={namespace!r}, config_file={str(kubernetes.kubeconfig)!r},
        node_pool="pool=real", run_as_root=True,
        volumes=(Volume(mount_path={str(tmp_path)!r}, host_path={str(tmp_path)!r}),),
    )
    step("make", PipelineData("made"), {str(go)!r}, compute_target=pool, KEYWORDS)
    """


def left(kubernetes: Cluster, namespace: str) -> list[str]:
    """The pods and Secrets in the namespace that do not go."""
    pods = kubernetes.core.list_namespaced_pod(namespace).items
    secrets = kubernetes.core.list_namespaced_secret(namespace, field_selector="type=Opaque").items
    found = [item.metadata for item in (*pods, *secrets)]
    return [metadata.name for metadata in found if not metadata.deletion_timestamp]


def unreachable(*_: Any) -> NoReturn:
    raise InfrastructureError("nobody answers")


def test_a_deferred_step_shows_each_line_once_and_is_reused_without_a_pod(
    dags: DagFiles,  # noqa: F811
    step: str,
    go: Path,
    kubernetes: Cluster,
    namespace: str,
) -> None:
    dags.dag(step.replace("KEYWORDS", "deferrable=True"))
    dags.log.when("Pausing task as DEFERRED", go.touch)
    run = dags.run()
    assert run.read("make", "made") == "made"
    assert [line for line in run.log if line.startswith("line ")] == LINES
    assert "Pausing task as DEFERRED" in run.text
    assert left(kubernetes, namespace) == []
    began = {event.involved_object.name for event in kubernetes.core.list_namespaced_event(namespace).items}
    assert dags.run().actions == {"make": "reused"}
    known = {event.involved_object.name for event in kubernetes.core.list_namespaced_event(namespace).items}
    assert len(began) == 1
    assert known == began


def test_a_pod_that_is_taken_away_is_followed_by_another_within_the_same_try(
    dags: DagFiles,  # noqa: F811
    step: str,
    go: Path,
    kubernetes: Cluster,
    namespace: str,
) -> None:
    core = kubernetes.core
    dags.dag(step.replace("KEYWORDS", "deferrable=False"))
    dags.log.when(
        "line 5",
        lambda: core.delete_collection_namespaced_pod(namespace, label_selector="airflow-mlpipe/task=make"),
    )
    dags.log.when("infrastructure failure 1 of 3", go.touch)
    run = dags.run()
    assert run.tries == {"make": 1}
    assert "infrastructure failure 1 of 3" in run.text
    assert run.decision("make")["attempt"].endswith(".1")
    assert run.read("make", "made") == "made"


def test_an_overdue_step_that_the_triggerer_cannot_end_is_ended_by_a_worker(
    dags: DagFiles,  # noqa: F811
    step: str,
    kubernetes: Cluster,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AttemptTrigger, "_end", unreachable)
    dags.dag(step.replace("KEYWORDS", "deferrable=True, timeout=1"))
    run = dags.run()
    assert "it could not be ended: nobody answers" in run.text
    assert "ran for longer than 1 s" in run.text
    assert left(kubernetes, namespace) == []


def test_a_step_that_no_trigger_can_watch_is_ended_and_its_lease_is_free(
    dags: DagFiles,  # noqa: F811
    step: str,
    kubernetes: Cluster,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClusterAddress, "of", unreachable)
    dags.dag(step.replace("KEYWORDS", "deferrable=True"))
    run = dags.run()
    assert run.state == "failed"
    assert "nobody answers" in run.text
    assert left(kubernetes, namespace) == []
    assert not list(dags.store.rglob("lease.json"))
