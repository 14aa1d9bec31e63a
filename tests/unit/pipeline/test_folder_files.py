"""The files of a folder output, each as a reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.reference import PipelineDataReference, ProducerReference
from airflow_mlpipe.pipeline.folder_files import files_of
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe


def folder(path: Path, digest: str, kind: str = "directory") -> PipelineDataReference:
    return PipelineDataReference.model_validate(
        {
            "name": "shards",
            "uri": f"file://{path}",
            "digest": digest,
            "kind": kind,
            "size": 1,
            "fingerprint": 64 * "b",
            "producer": ProducerReference(dag_id="retrain", run_id="run-3", task_id="split").model_dump(),
            "sealed": False,
        }
    )


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(Datastore.open(str(tmp_path / "store")))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    place = tmp_path / "shards"
    (place / "day").mkdir(parents=True)
    (place / "day" / "b.csv").write_text("b")
    (place / "a.csv").write_text("a")
    return place


def test_files_that_were_not_sealed_are_hashed(shards: Path, stores: Stores) -> None:
    found = files_of(folder(shards, describe(shards).digest), stores, HashCache(None))
    assert [(file.inside, file.path().read_text(), file.digest) for file in found] == [
        ("a.csv", "a", describe(shards / "a.csv").digest),
        ("day/b.csv", "b", describe(shards / "day" / "b.csv").digest),
    ]


def test_a_folder_that_was_changed_has_no_files_to_hand_on(shards: Path, stores: Stores) -> None:
    reference = folder(shards, describe(shards).digest)
    (shards / "a.csv").write_text("c")
    with pytest.raises(StoreError, match="shards of retrain/run-3/split is not what its step handed on"):
        files_of(reference, stores, HashCache(None))


@pytest.mark.parametrize(("kind", "what"), [("file", "is one file"), ("missing", "was not written")])
def test_only_a_folder_has_files(shards: Path, stores: Stores, kind: str, what: str) -> None:
    with pytest.raises(UserError, match=f"shards of retrain/run-3/split {what}"):
        files_of(folder(shards, 64 * "a", kind), stores, HashCache(None))
