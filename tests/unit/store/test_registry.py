"""The registry on real stores: versions count up, are written once, and are believed only when whole."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import registered_key
from airflow_mlpipe.store.manifest import ManifestOutput
from airflow_mlpipe.store.registry import DatasetVersion, Lineage, ModelVersion, Registry, VersionUnusable
from airflow_mlpipe.store.signature import Keyring

ONE, TWO = "a1" * 32, "b2" * 32
KEYRING = Keyring(["the key of this deployment, 32 B."])
LINEAGE = Lineage(
    fingerprint="cd" * 32, producer=ProducerReference(dag_id="retrain", run_id="r1", task_id="prepare")
)
# A record as the first release wrote it.
RELEASED = {
    "schema_version": 1,
    "kind": "dataset",
    "id": "0" * 32,
    "name": "raw",
    "version": 1,
    "digest": ONE,
    "size": 3,
    "description": "rows",
    "tags": {"kind": "daily"},
    "created_at": 1000.5,
    "registered_by": "retrain/r1/prepare",
    "lineage": {
        "fingerprint": "cd" * 32,
        "producer": {"dag_id": "retrain", "run_id": "r1", "task_id": "prepare", "map_index": -1},
        "inputs": {"rows": {"kind": "dataset", "name": "rows", "version": 2}},
    },
    "declared": None,
    "output": {
        "name": "made",
        "kind": "file",
        "key": "mlpipe/v1/attempts/prepare-1/outputs/made",
        "digest": ONE,
        "size": 3,
        "entries": [],
        "listing": None,
    },
    "store": "",
    "table": {"format": "parquet", "options": {}, "operations": []},
    "signature": None,
}


def draft(digest: str = ONE, name: str = "raw", **fields: Any) -> DatasetVersion:
    declared = {"declared": {"paths": ["s3://bucket/raw/"]}} if "output" not in fields else {}
    return DatasetVersion(
        **{"name": name, "digest": digest, "size": 3, "registered_by": "ann", **declared, **fields}
    )


def register(registry: Registry[DatasetVersion], version: DatasetVersion) -> tuple[int, bool]:
    found, is_new = registry.register(version, version.is_like)
    return found.version, is_new


@pytest.fixture
def registry(datastore: Datastore) -> Registry[DatasetVersion]:
    return Registry(datastore, DatasetVersion)


def test_versions_count_up_from_one_for_each_name(registry: Registry[DatasetVersion]) -> None:
    assert [register(registry, draft(digest)) for digest in (ONE, TWO, ONE)] == [
        (1, True),
        (2, True),
        (3, True),
    ]
    assert register(registry, draft(name="other")) == (1, True)
    assert registry.names() == {"raw": [1, 2, 3], "other": [1]}
    latest = registry.latest("raw")
    assert latest is not None
    assert (latest.version, latest.digest) == (3, ONE)
    assert registry.read("raw", 4) is None
    assert registry.latest("nothing") is None


def test_what_the_latest_version_holds_makes_no_new_one(registry: Registry[DatasetVersion]) -> None:
    assert register(registry, draft()) == (1, True)
    assert register(registry, draft(tags={"another": "tag"})) == (1, False)
    assert register(registry, draft(table={"format": "parquet"})) == (2, True)


def test_of_many_who_register_at_once_each_gets_a_version_of_its_own(
    registry: Registry[DatasetVersion],
) -> None:
    found: list[tuple[int, bool]] = []
    digests = [f"{number:02x}" * 32 for number in range(6)]
    threads = [
        threading.Thread(target=lambda digest=digest: found.append(register(registry, draft(digest))))
        for digest in digests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(number, True) for number in range(1, 7)]
    kept = [registry.read("raw", number) for number in range(1, 7)]
    assert sorted(version.digest for version in kept if version is not None) == digests


def test_of_many_who_register_the_same_at_once_one_makes_a_version(local: Datastore) -> None:
    registry, found = Registry(local, DatasetVersion), []
    threads = [threading.Thread(target=lambda: found.append(register(registry, draft()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(1, False)] * 7 + [(1, True)]


def test_a_damaged_newest_version_is_named_and_no_older_one_taken(local: Datastore) -> None:
    registry = Registry(local, DatasetVersion)
    register(registry, draft())
    register(registry, draft(TWO))
    key = registered_key("dataset", "raw", 2)
    local.write(key, b"{")
    with pytest.raises(VersionUnusable, match=f"dataset raw version 2 .*{key}.* cannot be used"):
        registry.latest("raw")
    assert registry.read("raw", 1) is not None
    assert register(registry, draft(TWO)) == (3, True)  # which mends the name


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 2}, "schema_version is 2, and this version of airflow_mlpipe reads 1"),
        ({"color": "red"}, "color: Extra inputs are not permitted"),
        ({"version": 2}, "it is that of raw version 2"),
        ({"kind": "model"}, "kind: Input should be 'dataset'"),
        ({"output": None}, "it is either data that was declared, or the output of a step"),
        ({"lineage": None}, "it is the output of a step, and does not say of which"),
        ({"output": {**RELEASED["output"], "key": "../x"}}, "cannot be the name of something"),  # type: ignore[dict-item]
    ],
)
def test_a_record_that_is_not_understood_is_refused(
    local: Datastore, change: dict[str, Any], problem: str
) -> None:
    local.write(registered_key("dataset", "raw", 1), json.dumps({**RELEASED, **change}).encode())
    with pytest.raises(VersionUnusable, match=problem):
        Registry(local, DatasetVersion).latest("raw")


def test_a_record_of_the_first_release_is_read_and_written_as_it_was(local: Datastore) -> None:
    data = json.dumps(RELEASED, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    local.write(registered_key("dataset", "raw", 1), data)
    found = Registry(local, DatasetVersion).latest("raw")
    assert found is not None
    assert found.to_bytes() == data


def test_only_versions_that_a_holder_of_the_key_signed_are_believed(local: Datastore) -> None:
    signing, unsigned = Registry(local, DatasetVersion, KEYRING), Registry(local, DatasetVersion)
    assert register(signing, draft()) == (1, True)
    assert signing.latest("raw") is not None
    assert register(unsigned, draft(TWO)) == (2, True)
    with pytest.raises(VersionUnusable, match="it is not signed"):
        signing.latest("raw")
    forged = json.loads(local.read(registered_key("dataset", "raw", 1)) or b"")
    local.write(registered_key("dataset", "raw", 2), json.dumps({**forged, "version": 2}).encode())
    with pytest.raises(VersionUnusable, match="its signature is wrong"):
        signing.latest("raw")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "with space", "x" * 201, "ä"])
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(local: Datastore, name: str) -> None:
    with pytest.raises((ValidationError, StoreError)):
        draft(name=name)
    if name:
        with pytest.raises(StoreError):
            Registry(local, DatasetVersion).versions(name)


def test_other_files_among_the_versions_are_passed_over(local: Datastore) -> None:
    registry = Registry(local, DatasetVersion)
    register(registry, draft())
    for leaf in ("00000002.json.bak", "notes.txt", "2.json"):
        local.write(f"mlpipe/v1/datasets/raw/{leaf}", b"{}")
    assert registry.versions("raw") == [1]
    assert register(registry, draft(TWO)) == (2, True)


def test_models_and_datasets_of_one_name_do_not_meet(local: Datastore) -> None:
    files = ManifestOutput(name="raw", kind="file", key="mlpipe/v1/model-files/raw/x", digest=ONE, size=3)
    model = ModelVersion(name="raw", digest=ONE, size=3, registered_by="ann", lineage=LINEAGE, files=files)
    Registry(local, ModelVersion).register(model, lambda latest: False)
    assert Registry(local, DatasetVersion).latest("raw") is None
    assert Registry(local, ModelVersion).latest("raw") == model
