"""Whole DAGs whose steps run in containers: what a step makes does not depend on where it runs."""

from __future__ import annotations

import json
import os

import pytest

from tests.airflow.conftest import dags, task_log
from tests.airflow.harness import DagFiles, RunOutcome
from tests.services import ObjectStore

__all__ = ["dags", "task_log"]

PREPARE = """
import os, sys
from pathlib import Path
from airflow_mlpipe import Run
raw, prepared = map(Path, sys.argv[1:])
print("read", sorted(path.name for path in raw.iterdir()))
for path in raw.iterdir():
    (prepared / path.name).write_text(path.read_text().upper())
(prepared / "tool").write_text("#!/bin/sh")
(prepared / "tool").chmod(0o755)
(prepared / "empty").mkdir()
Run.get_context().log("files", len(list(raw.iterdir())))
os.makedirs("outputs", exist_ok=True)
Path("outputs/note.txt").write_text("kept")
"""
TRAIN = """
import sys
from pathlib import Path
prepared, model = map(Path, sys.argv[1:])
model.write_text("".join(path.read_text() for path in sorted(prepared.iterdir()) if path.is_file()))
"""
IMPORTS = "from airflow_mlpipe import DockerTarget, LocalTarget, OutputFileDatasetConfig"
FUNCTION = """
TARGET = {target}

@step(compute_target=TARGET)
def measure(model: Input[Path], factor: float = 2.0) -> dict:
    return {{"size": len(model.read_bytes()) * factor, "text": model.read_text()}}
"""
STEPS = """
prepared, model = OutputFileDatasetConfig("prepared"), PipelineData("model")
options = {"source_directory": "src", "compute_target": TARGET}
raw = Dataset.File.from_files("raw").as_named_input("raw")
PythonScriptStep(task_id="prepare", script_name="prepare.py", arguments=[raw, prepared], **options)
PythonScriptStep(task_id="train", script_name="train.py", arguments=[prepared.as_input(), model], **options)
measure(model)
"""
TARGETS = {
    "local": "LocalTarget()",
    "docker": "DockerTarget(image={image!r}, memory='256m')",
    "remote engine": "DockerTarget(image={image!r}, shares_disk=False)",
}


def write_pipeline(dags: DagFiles, target: str) -> None:
    dags.script("prepare.py", PREPARE)
    dags.script("train.py", TRAIN)
    dags.file("raw/a.txt", "first\n")
    dags.file("raw/deep.txt", "zweite grün\n")
    dags.functions(FUNCTION.format(target=target), STEPS, imports=IMPORTS)


def results(run: RunOutcome) -> dict[str, object]:
    """What a run made, as far as it may not depend on where it ran."""
    outputs = [("prepare", "prepared"), ("train", "model")]
    found: dict[str, object] = {key: run.reference(*key).digest for key in outputs}  # type: ignore[misc]
    return {**found, "metrics": run.returned("prepare")["metrics"], "measured": run.returned("measure")}


@pytest.fixture
def made_here(dags: DagFiles) -> dict[str, object]:
    """What the pipeline makes without a container."""
    write_pipeline(dags, TARGETS["local"])
    run = dags.run()
    assert run.state == "success", run.text
    return results(run)


def test_steps_in_containers_make_what_local_ones_make_and_are_reused(
    dags: DagFiles,
    made_here: dict[str, object],
    docker_host: str,
    image: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    write_pipeline(dags, TARGETS["docker"].format(image=image))
    first, second = dags.run(), dags.run()
    assert first.state == "success", first.text
    assert set(first.actions.values()) == {"ran"}
    assert results(first) == made_here
    assert dags.manifest(first, "prepare").producer.task_id == "prepare"
    assert (dags.attempt_path(first, "prepare") / "files/outputs/note.txt").read_text() == "kept"
    assert dags.attempt_path(first, "train").joinpath("outputs/model").stat().st_uid == os.getuid()
    assert set(second.actions.values()) == {"reused"}
    assert results(second) == made_here


def test_steps_on_a_remote_engine_make_the_same_by_way_of_an_object_store(
    dags: DagFiles,
    made_here: dict[str, object],
    docker_host: str,
    s3_image: str,
    bridge_s3: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    extra = {"url": bridge_s3.url, "storage_options": json.dumps(dict(bridge_s3.options))}
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"conn_type": "mlpipe_datastore", "extra": extra}))
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://place/store")
    write_pipeline(dags, TARGETS["remote engine"].format(image=s3_image))
    first, second = dags.run(), dags.run()
    assert first.state == "success", first.text
    assert set(first.actions.values()) == {"ran"}
    assert results(first) == made_here
    assert set(second.actions.values()) == {"reused"}
    stored = bridge_s3.filesystem().find(f"{bridge_s3.bucket}/store")
    assert any(path.endswith("files/outputs/note.txt") for path in stored)
