"""A pipeline on machines that share nothing with the worker but the datastore makes what it makes here."""

from __future__ import annotations

import json

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ATTEMPTS
from airflow_mlpipe.store.manifest import read_manifest
from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow

PREPARE = """
import os, pathlib, sys
raw, table, made = map(pathlib.Path, sys.argv[1:])
from airflow_mlpipe.runtime import Run
run = Run.get_context()
rows = sorted(path.relative_to(raw).as_posix() + " " + path.read_text() for path in raw.rglob("*.csv"))
(made / "rows.txt").write_text("".join(rows) + table.read_text())
(made / "empty").mkdir()
(made / "run.sh").write_text("#!/bin/sh\\necho it runs\\n")
(made / "run.sh").chmod(0o755)
pathlib.Path("outputs/kept.txt").write_text("kept")
run.log("rows", len(rows))
run.register_model("digits", "outputs/kept.txt")
print("prepared")
"""

USE = """
import os, subprocess, sys
said = subprocess.run([sys.argv[1] + "/run.sh"], capture_output=True, text=True, check=True).stdout
print(sorted(os.listdir(sys.argv[1])))
open(sys.argv[2], "w").write(said + open(sys.argv[1] + "/rows.txt").read())
"""

DAG = """
    from airflow_mlpipe import DockerTarget
    made, used = OutputFileDatasetConfig("made"), PipelineData("used")
    raw = Dataset.File.from_files("{raw}")
    table = Dataset.File.from_files("data/table.txt")
    target = {target}
    step("prepare", raw.as_named_input("raw").as_mount(), table.as_named_input("table").as_download(), made,
         compute_target=target)
    step("use", made.as_input(), used, compute_target=target)
"""


@pytest.fixture
def store(bridge_s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Datastore:
    """The deployment's datastore, in a bucket that containers reach by the network."""
    extra = {"url": bridge_s3.url, "storage_options": json.dumps(dict(bridge_s3.options))}
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"conn_type": "mlpipe_datastore", "extra": extra}))
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://place/airflow")
    return Datastore.open(f"{bridge_s3.url}/airflow", **bridge_s3.options)


def test_the_same_scripts_make_the_same_outputs_with_the_same_digests(
    dags: DagFiles,  # noqa: F811 - the fixture
    store: Datastore,
    bridge_s3: ObjectStore,
    docker_host: str,
    s3_image: str,
) -> None:
    dags.script("prepare.py", PREPARE)
    dags.script("use.py", USE)
    dags.file("data/table.txt", "a table\n")
    for name in ("a.csv", "deep/b.csv"):
        bridge_s3.filesystem().pipe_file(f"{bridge_s3.bucket}/raw/{name}", b"row\n")
    carried = f'DockerTarget(docker_url="{docker_host}", image="{s3_image}", shares_disk=False)'
    found, metrics = {}, {}
    for name, target in {"here": "LocalTarget()", "carried": carried}.items():
        dags.dag(DAG.format(raw="datastore://place/raw", target=target), name=name)
        run = dags.run(name)
        assert run.state == "success", run.text
        made = [run.reference("prepare", "made"), run.reference("use", "used")]
        found[name] = {item.name: (item.kind, item.digest, item.size) for item in made}
        metrics[name] = read_manifest(store, made[0].fingerprint).results
        assert dags.run(name).actions == {"prepare": "reused", "use": "reused"}
    assert found["here"] == found["carried"]
    assert metrics["here"] == metrics["carried"] == {"rows": 2}
    left = [file.key for file in store.files(ATTEMPTS)]
    assert [key for key in left if "/inputs/" in key] == []
    assert len([key for key in left if key.endswith("files/outputs/kept.txt")]) == 2


def test_a_function_hands_on_what_it_returns(
    dags: DagFiles,  # noqa: F811 - the fixture
    store: Datastore,
    docker_host: str,
    s3_image: str,
) -> None:
    definitions = f"""
        from airflow_mlpipe import DockerTarget

        target = DockerTarget(docker_url="{docker_host}", image="{s3_image}", shares_disk=False)

        @step(compute_target=target)
        def make(words: list[str], made: Output[Path]) -> dict[str, Any]:
            made.write_text(" ".join(words))
            return {{"count": len(words), "many": ["x" * 100] * 1000}}

        @step(compute_target=target)
        def use(made: Input[Path], result: dict[str, Any]) -> str:
            return f"{{made.read_text()}}: {{len(result['many'])}}"
    """
    dags.functions(
        definitions,
        """
        done = make(["a", "b"])
        use(done["made"], done["return_value"])
        """,
    )
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("use") == "a b: 1000"
