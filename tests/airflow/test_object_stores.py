"""A deployment whose datastore is on an object service."""

from __future__ import annotations

import json
import time

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_mlpipe.store.clock import store_time
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, steps_prefix
from airflow_mlpipe.store.manifest import read_manifest
from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow


# tests/unit/store has what differs between the two.
@pytest.fixture(params=["s3", pytest.param("blob", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Datastore:
    """The deployment's datastore: a place in a bucket that a connection opens."""
    service: ObjectStore = request.getfixturevalue(request.param)
    extra = {"url": service.url, "storage_options": json.dumps(dict(service.options))}
    monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"conn_type": "mlpipe_datastore", "extra": extra}))
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://place/airflow")
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "digest")
    return Datastore.open(f"{service.url}/airflow", **service.options)


@pytest.fixture
def pipeline(dags: DagFiles, store: Datastore) -> DagFiles:
    dags.script(
        "make.py",
        """
        import sys
        for name in ("a.txt", "b.txt"):
            open(sys.argv[1] + "/" + name, "w").write("the bytes of " + name)
    """,
    )
    dags.script(
        "use.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1] + '/b.txt').read() + '!')"
    )
    dags.dag("""
        made, used = OutputFileDatasetConfig("made"), PipelineData("used")
        step("make", made)
        step("use", made.as_input(), used)
    """)
    return dags


def delete_one(store: Datastore, output: str) -> None:
    assert store.delete(f"{output}/a.txt")


def overwrite_one(store: Datastore, output: str) -> None:
    store.write(f"{output}/b.txt", b"THE BYTES OF B.TXT")


def test_what_is_made_is_reused_healed_and_collected(pipeline: DagFiles, store: Datastore) -> None:
    first, second = pipeline.run(), pipeline.run()
    assert first.state == second.state == "success", first.text + second.text
    assert first.actions == {"make": "ran", "use": "ran"}
    assert second.actions == {"make": "reused", "use": "reused"}
    assert second.read("use", "used") == "the bytes of b.txt!"

    healed = second
    for damage, problem in ((delete_one, "a.txt is missing"), (overwrite_one, "b.txt has SHA-256 ")):
        damage(store, read_manifest(store, healed.decision("make")["fingerprint"]).outputs["made"].key)
        healed = pipeline.run()
        assert healed.actions == {"make": "ran", "use": "reused"}, healed.text
        assert f"output 'made': {problem}" in healed.decision("make")["reason"]
        assert healed.path("make", "made").joinpath("b.txt").read_text() == "the bytes of b.txt"
    assert [file.key for file in store.files(steps_prefix()) if file.key.endswith("lease.json")] == []

    # The clock of the store tells whole seconds, and nothing used within the grace is garbage.
    used = time.time()
    while (store_time(store) or used) <= used:
        time.sleep(0.1)
    gc = get_parser().parse_args(["mlpipe", "gc", "--max-size", "0 B", "--grace", "0.001 s", "--yes"])
    gc.func(gc)
    assert [file.key for file in store.files(steps_prefix()) if file.key.endswith("manifest.json")] == []
    assert list(store.files(attempt_prefix(healed.decision("make")["attempt"]))) == []
    again = pipeline.run()
    assert again.actions == {"make": "ran", "use": "ran"}
    assert "invalidated by garbage collection" in again.decision("make")["reason"]
