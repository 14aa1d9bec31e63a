"""Fingerprints of a step: ours, and two that are blunt on purpose, to show that the matrix can tell."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_mlpipe import Dataset, PipelineData, PipelineParameter, PythonScriptStep
from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.pipeline.step_run import StepRun
from tests.mutations.project import BUNDLE, SITE, Data, Output, Param, Project


def ours(project: Project, folder: Path) -> str | None:
    """What a worker computes for the step; None when it cannot be told, or the step is refused."""
    bundle = folder / BUNDLE
    with _worker(bundle, folder / SITE if project.site else None):
        try:
            with DAG(project.dag_id, params=dict(project.params)) as dag:
                dag.fileloc = str(bundle / "pipeline.py")
                task = PythonScriptStep(
                    task_id="train",
                    script_name=project.script,
                    source_directory=project.source,
                    arguments=[_argument(item) for item in project.arguments],
                    environment_variables=project.variables,
                    **project.operator,
                )
            run = SimpleNamespace(conf={}, start_date=None)
            context = {"params": project.params, "ti": _instance(project), "dag_run": run}
            prepared = StepRun.of(task, context).preparation
        except MLPipeError:
            return None
    return None if prepared.undetermined else prepared.fingerprint


def entry_script_alone(project: Project, folder: Path) -> str:
    """What a tool hashes that looks at the step's own source and arguments: stale after much else."""
    script = folder / BUNDLE / project.source / project.script
    content = script.read_bytes() if script.exists() else b""
    return hashlib.sha256(repr((content, project.arguments, project.params)).encode()).hexdigest()


def whole_folder(project: Project, folder: Path) -> str:
    """What a tool hashes that takes every byte and every time below the bundle: it reruns for anything."""
    digest = hashlib.sha256(repr((project.arguments, project.params, project.variables)).encode())
    root = folder / BUNDLE
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest.update(repr((str(path), path.stat().st_mtime_ns, path.read_bytes())).encode())
    return digest.hexdigest()


FINGERPRINTS = {"ours": ours, "entry script alone": entry_script_alone, "whole folder": whole_folder}


def _instance(project: Project) -> SimpleNamespace:
    """The part of a task instance that a step asks for; none of it is in a fingerprint."""
    return SimpleNamespace(
        dag_id=project.dag_id, run_id="run", task_id="train", map_index=-1, try_number=1, id="instance"
    )


def _argument(item: Any) -> Any:
    if isinstance(item, Data):
        return Dataset.File.from_files(item.path)
    if isinstance(item, Output):
        return PipelineData("result")
    return PipelineParameter(item.name) if isinstance(item, Param) else item


@contextmanager
def _worker(bundle: Path, site: Path | None) -> Iterator[None]:
    """A worker as Airflow makes it, with the bundle at the end of its path, and PYTHONPATH naming *site*."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(bundle)])
        patch.delenv("PYTHONPATH", raising=False)
        if site is not None:
            patch.setenv("PYTHONPATH", str(site))
        yield
