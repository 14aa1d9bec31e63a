"""A step whose environment is an image with packages, as Airflow runs it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.airflow.conftest import dags, task_log
from tests.airflow.harness import DagFiles
from tests.targets.made_images import base, build

__all__ = ["base", "dags", "task_log"]

FUNCTION = """
@step(
    environment=Environment(image={image!r}, pip_packages=["tiny"]),
    compute_target=DockerTarget(memory="256m"),
)
def installed() -> dict:
    import os, tiny
    return {{"version": tiny.VERSION, "moved": os.environ.get("MOVED", "no")}}
"""
IMPORTS = "from airflow_mlpipe import DockerTarget, Environment"


def test_a_step_runs_in_its_built_image_is_reused_and_runs_again_when_the_tag_of_the_base_has_moved(
    dags: DagFiles, docker_host: str, docker_client: Any, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    tag = f"{base}-moving"
    docker_client.tag(base, *tag.split(":"))
    dags.functions(FUNCTION.format(image=tag), "installed()", imports=IMPORTS)
    first = dags.run()
    assert first.state == "success", first.text
    assert first.returned("installed") == {"version": "2.0", "moved": "no"}
    assert "Successfully installed tiny-2.0" in first.text

    second = dags.run()
    assert second.actions == {"installed": "reused"}
    assert "Resolving" not in second.text
    assert "Building" not in second.text

    build(docker_client, tag, f"FROM {base}\nENV MOVED=yes\n")
    third = dags.run()
    assert third.actions == {"installed": "ran"}
    assert third.returned("installed") == {"version": "2.0", "moved": "yes"}
    assert re.fullmatch(r"image \w{4}\.\.\. -> \w{4}\.\.\.", third.decision("installed")["reason"])
