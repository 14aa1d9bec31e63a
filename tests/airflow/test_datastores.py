"""Data in datastores with names: read by steps and plain tasks, with secrets that nothing else sees."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow

SECRET = "open-sesame-wJalrXUtnFEMI"


@pytest.fixture
def raw(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket with a file, and a connection of its own that opens it."""
    s3.filesystem().pipe_file(f"{s3.bucket}/daily/a.csv", b"1,2,3")
    place = {
        "endpoint": s3.options["client_kwargs"]["endpoint_url"],
        "region": s3.options["client_kwargs"]["region_name"],
    }
    connection = {"conn_type": "mlpipe_datastore", "login": "test", "password": SECRET}
    document = {**connection, "extra": {"url": s3.url, **place}}
    monkeypatch.setenv("AIRFLOW_CONN_RAW", json.dumps(document))
    return s3


def test_a_secret_reaches_a_step_that_reads_directly_and_nothing_else(
    dags: DagFiles, raw: ObjectStore, tmp_path: Path
) -> None:
    dags.script(
        "read.py",
        f"""
        import hashlib, os, sys
        from pathlib import Path
        from airflow_mlpipe import Run, access

        run = Run.get_context()
        with run.open(sys.argv[1]) as file:
            read = file.read().decode()
        secret = access.access_to(sys.argv[1]).options["secret"]
        assert hashlib.sha256(secret.encode()).hexdigest() == "{_sha256(SECRET)}"
        for process in ("self", str(os.getppid())):
            for told in ("cmdline", "environ"):
                assert secret.encode() not in Path(f"/proc/{{process}}/{{told}}").read_bytes()
        assert access.access_to("s3://other/x").options == {{}}
        Path(sys.argv[2]).write_text(read)
        """,
    )
    dags.functions(
        """
        from airflow_mlpipe import Datastore

        raw = Dataset.File.from_files((Datastore("raw"), "daily/a.csv"))

        @step
        def count(data: str) -> int:
            with Run.open(data) as file:
                return len(file.read().split(b","))
        """,
        """
        PythonScriptStep(task_id="read", source_directory="src", script_name="read.py",
                         arguments=[raw.as_direct(), PipelineData("copy")])
        count(raw.as_direct())
        """,
    )
    run = dags.run()
    assert run.state == "success", run.text
    assert run.read("read", "copy") == "1,2,3"
    assert run.returned("count") == 3
    home = Path(os.environ["AIRFLOW_HOME"])
    assert holders(tmp_path) == []
    assert holders(home) == []
    assert SECRET not in str(run.xcoms)
    assert SECRET not in run.text


def test_outputs_in_a_store_with_a_name_are_read_by_plain_tasks_and_reused(
    dags: DagFiles, raw: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://raw/airflow")
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag("""
        from airflow_mlpipe.pipeline.datastores import know_datastores

        made = PipelineData("made")
        make = step("make", made)

        @task
        def show(reference):
            know_datastores()  # as in a process of its own, in which nothing was looked up before
            return reference.path().read_text()

        show(make.output["made"])
    """)
    first, second = dags.run(), dags.run()
    assert first.state == second.state == "success", first.text + second.text
    assert [first.returned("show"), second.returned("show")] == ["made", "made"]
    assert (first.actions["make"], second.actions["make"]) == ("ran", "reused")
    assert first.reference("make", "made").uri.startswith(f"{raw.url}/airflow/mlpipe/")


def holders(folder: Path) -> list[Path]:
    """The files below *folder* that hold the secret."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
