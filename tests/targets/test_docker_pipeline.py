"""A step on a Docker engine as its task sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

# Who comes first waits to be killed.
TRAIN = """
import os, sys, time
is_first = not os.path.exists(sys.argv[2])
open(sys.argv[2], "w").close()
print("it trains", flush=True)
if is_first:
    time.sleep(300)
open(sys.argv[1], "w").write("model")
"""

DAG = """
    from airflow_mlpipe import DockerTarget
    target = DockerTarget(image="{image}", volumes=["{folder}:{folder}"])
    step("train", PipelineData("model"), "{folder}/begun", compute_target=target)
"""


def test_a_step_whose_container_is_killed_is_started_anew_within_its_try(
    dags: DagFiles,  # noqa: F811
    docker_host: str,
    docker_client: Any,
    image: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    monkeypatch.setattr("airflow_mlpipe.pipeline.failures.FIRST_PAUSE_SECONDS", 0.1)
    folder, ours = dags.folder.parent / "shown", {"label": f"mlpipe.dag_id={dags.dag_id()}"}
    folder.mkdir()

    def kill() -> None:
        [container] = docker_client.containers(filters=ours)
        docker_client.kill(container["Id"])

    dags.script("train.py", TRAIN)
    dags.dag(DAG.format(image=image, folder=folder))
    dags.log.when("it trains", kill)
    run = dags.run()
    assert (run.state, run.tries) == ("success", {"train": 1}), run.text
    assert "infrastructure failure 1 of 3" in run.text
    assert "was killed from outside" in run.text
    assert run.read("train", "model") == "model"
    assert docker_client.containers(all=True, filters=ours) == []
