"""A deployment whose datastore is on an object service: run, reuse, damage, healing, and garbage collection."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ATTEMPTS, steps_prefix
from airflow_mlpipe.store.manifest import read_manifest
from tests.airflow.harness import DagFiles, RunOutcome
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow


@pytest.fixture(params=["s3", "blob"])
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


def test_what_is_made_is_reused_and_what_is_damaged_is_healed(pipeline: DagFiles, store: Datastore) -> None:
    first, second = pipeline.run(), pipeline.run()
    assert first.state == second.state == "success", first.text + second.text
    assert first.actions == {"make": "ran", "use": "ran"}
    assert second.actions == {"make": "reused", "use": "reused"}
    assert second.read("use", "used") == "the bytes of b.txt!"
    damages: list[tuple[Callable[[Datastore, str], None], str]] = [
        (delete_one, "output 'made': a.txt is missing"),
        (overwrite_one, "output 'made': b.txt "),
    ]
    for damage, problem in damages:
        damage(store, made_by(store, pipeline.run()))
        healing, after = pipeline.run(), pipeline.run()
        assert healing.actions == {"make": "ran", "use": "reused"}, healing.text
        assert problem in healing.decision("make")["reason"]
        assert after.actions == {"make": "reused", "use": "reused"}
        assert after.path("make", "made").joinpath("b.txt").read_text() == "the bytes of b.txt"
    assert not any(file.key.endswith("lease.json") for file in store.files(steps_prefix()))


def test_garbage_is_collected(pipeline: DagFiles, store: Datastore) -> None:
    pipeline.run()
    args = get_parser().parse_args(["mlpipe", "gc", "--max-size", "0 B", "--grace", "0.001 s", "--yes"])
    args.func(args)
    assert [file.key for file in store.files(steps_prefix()) if file.key.endswith("manifest.json")] == []
    assert list(store.files(ATTEMPTS)) == []
    again = pipeline.run()
    assert again.actions == {"make": "ran", "use": "ran"}
    assert "invalidated by garbage collection" in again.decision("make")["reason"]


def made_by(store: Datastore, done: RunOutcome) -> str:
    """The key of the folder that "make" made."""
    return read_manifest(store, done.decision("make")["fingerprint"]).outputs["made"].key
