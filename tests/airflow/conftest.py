"""Airflow in this process: one database for all tests, one bundle and one datastore for each."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

from tests.airflow.harness import BUNDLE, DagFiles, TaskLog

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def task_log() -> TaskLog:
    """The log of a process in which Airflow has a database."""
    from airflow.utils.db import initdb

    initdb()
    log = TaskLog()
    log.listen()
    return log


@pytest.fixture
def dags(tmp_path: Path, task_log: TaskLog, monkeypatch: pytest.MonkeyPatch) -> DagFiles:
    """An empty bundle that Airflow knows, and an empty datastore that our steps use."""
    folder, store = tmp_path / "dags", tmp_path / "store"
    folder.mkdir()
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", f"file://{store}")
    monkeypatch.setenv("AIRFLOW__MLPIPE__WORK_DIRECTORY", str(tmp_path / "work"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # a bundle is added to it for good
    # Here no scheduler takes a task that goes on at once for one that has ended.
    monkeypatch.setattr("airflow_mlpipe.pipeline.resuming.resume_seconds", lambda: 0.0)
    monkeypatch.setattr("airflow_mlpipe.pipeline.resuming.SHORTEST_RESCHEDULE_SECONDS", 0.0)
    task_log.forget()
    return DagFiles(folder, store, task_log, f"dag{next(_numbers)}")
