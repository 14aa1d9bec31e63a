"""A deployment whose datastore is a bucket behind an Airflow connection, on a whole Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import ObjectStore
from tests.system.pipelines import retraining
from tools.airflow_instance import AirflowInstance

# tests/airflow/test_object_stores.py holds the same without a scheduler.
pytestmark = [pytest.mark.system, pytest.mark.slow]

DAG = "retraining_on_s3"
STEPS = ("prepare", "train", "evaluate")
SECRET = "a-secret-key-that-is-nowhere-else"


@pytest.fixture
def airflow(s3: ObjectStore, tmp_path: Path) -> Iterator[AirflowInstance]:
    connection = {
        "conn_type": "mlpipe_datastore",
        "login": "test",
        "password": SECRET,
        "extra": {"url": s3.url, "endpoint": s3.options["client_kwargs"]["endpoint_url"]},
    }
    settings = {
        "AIRFLOW__MLPIPE__DATASTORE": "datastore://ml_store/airflow",
        "AIRFLOW_CONN_ML_STORE": json.dumps(connection),
    }
    with AirflowInstance(tmp_path / "home", tmp_path / "dags", settings=settings) as instance:
        yield instance


def test_a_bucket_serves_a_whole_airflow_and_its_key_is_nowhere(
    airflow: AirflowInstance, s3: ObjectStore
) -> None:
    retraining(airflow, DAG)
    first, second = run(airflow), run(airflow)
    assert [first[step]["action"] for step in STEPS] == ["ran", "ran", "ran"]
    assert [second[step]["action"] for step in STEPS] == ["reused", "reused", "reused"]
    assert "the report says report on 3 words at 0.1" in airflow.log_text(DAG, second["run_id"], "announce")

    model = first["train"]["attempt"]
    s3.filesystem().rm(f"{s3.bucket}/airflow/mlpipe/v1/attempts/{model}/outputs/model")
    healed = run(airflow)
    assert [healed[step]["action"] for step in STEPS] == ["reused", "ran", "reused"]
    assert "missing" in healed["train"]["reason"]

    assert files_with(SECRET, airflow.home) == []
    assert not [path for path in s3.filesystem().find(s3.bucket) if SECRET.encode() in s3_bytes(s3, path)]


def run(airflow: AirflowInstance) -> dict[str, Any]:
    """Trigger a run, wait for its success, and return its id and the decision of each step."""
    run_id = airflow.trigger(DAG)
    assert airflow.wait_for_run(DAG, run_id) == "success"
    return {"run_id": run_id, **{step: airflow.xcom(DAG, run_id, step, "mlpipe_decision") for step in STEPS}}


def files_with(text: str, folder: Path) -> list[Path]:
    """The files below *folder* that hold *text*: logs, database, work directories."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]


def s3_bytes(s3: ObjectStore, path: str) -> bytes:
    return bytes(s3.filesystem().cat_file(path))
