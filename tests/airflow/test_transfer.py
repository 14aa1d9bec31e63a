"""Transfers in a DAG: between servers and disks, again, and as mirrors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow


@pytest.fixture
def bucket(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket with two files below raw/, which is the datastore ``bucket``."""
    client = s3.options["client_kwargs"]
    place = {"endpoint": client["endpoint_url"], "region": client["region_name"]}
    connection = {
        "conn_type": "mlpipe_datastore",
        "login": s3.options["key"],
        "password": s3.options["secret"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", json.dumps({**connection, "extra": {"url": s3.url, **place}}))
    s3.filesystem().pipe({f"{s3.bucket}/raw/a.csv": b"1,2", f"{s3.bucket}/raw/deep/b.csv": b"3"})
    return s3


def counts(returned: dict[str, Any]) -> tuple[int, int, int]:
    return returned["copied"], returned["skipped"], returned["deleted"]


def test_a_folder_is_copied_once_and_mirrored_after_somebody_could_look(
    dags: DagFiles, bucket: ObjectStore, tmp_path: Path
) -> None:
    dags.dag(
        f"""
        from airflow_mlpipe import DataTransferStep, Datastore
        bucket, here = Datastore("bucket"), "{tmp_path}/here"
        DataTransferStep(task_id="fetch", source=(bucket, "raw/"), destination=here + "/{{{{ params.to }}}}")
        DataTransferStep(task_id="copy", source=bucket.path("raw/**"), destination=(bucket, "copies/"))
        DataTransferStep(task_id="mirror", source=bucket.path("raw"), destination=here + "/same", mirror=True)
        """,
        options="params={'to': 'raw'}",
    )
    stale = tmp_path / "here" / "same" / "old.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    first = dags.run()
    assert first.state == "success", first.text
    assert (tmp_path / "here" / "raw" / "deep" / "b.csv").read_text() == "3"
    assert bucket.filesystem().cat(f"{bucket.bucket}/copies/a.csv") == b"1,2"
    assert [counts(first.returned(task)) for task in ("fetch", "copy")] == [(2, 0, 0), (2, 0, 0)]
    assert [first.returned(task)["server_side"] for task in ("fetch", "copy")] == [False, True]
    assert counts(first.returned("mirror")) == (2, 0, 1)
    assert first.returned("mirror")["dry_run"] is True
    assert "would be deleted: old.csv" in first.text
    assert [path.name for path in stale.parent.iterdir()] == ["old.csv"]
    second = dags.run()
    assert [counts(second.returned(task)) for task in ("fetch", "copy")] == [(0, 2, 0), (0, 2, 0)]
    assert counts(second.returned("mirror")) == (2, 0, 1)
    assert sorted(path.name for path in stale.parent.rglob("*.csv")) == ["a.csv", "b.csv"]


def test_an_output_is_copied_when_its_step_is_done_and_an_empty_source_deletes_nothing(
    dags: DagFiles, bucket: ObjectStore, tmp_path: Path
) -> None:
    dags.script("train.py", "import sys; open(sys.argv[1], 'w').write('model')")
    dags.dag("""
        from airflow_mlpipe import DataTransferStep, Datastore
        model, bucket = PipelineData("model"), Datastore("bucket")
        step("train", model)
        DataTransferStep(task_id="publish", source=model, destination=(bucket, "models/digits.bin"))
        DataTransferStep(task_id="wipe", source="datastore://bucket/empty/", destination=(bucket, "raw"),
                         mirror=True, dry_run=False)
    """)
    run = dags.run()
    assert run.states == {"train": "success", "publish": "success", "wipe": "failed"}, run.text
    files = bucket.filesystem()
    assert files.cat(f"{bucket.bucket}/models/digits.bin") == b"model"
    assert files.exists(f"{bucket.bucket}/raw/a.csv")
