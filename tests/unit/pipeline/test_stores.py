from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError, StoreError
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.signature import Keyring
from tests.unit.pipeline.sealed import settings

KEY = "a-key-of-the-deployment-" * 2


def opened(**values: Any) -> Stores:
    return Stores.open(settings(datastore="/store", private_datastore="/private", **values))


def urls(stores: Stores) -> list[str]:
    return [store.url for store in stores]


def test_a_deployment_writes_to_its_datastore() -> None:
    assert urls(opened()) == ["file:///store"]


def test_a_deployment_with_a_namespace_writes_there() -> None:
    assert urls(opened(namespace="a")) == ["file:///store/namespaces/a"]


def test_other_stores_follow_the_own_one_in_their_order() -> None:
    stores = opened(namespace="a", read_datastores=("/store", "/released"))
    assert urls(stores) == ["file:///store/namespaces/a", "file:///store", "file:///released"]
    assert stores.own.url == "file:///store/namespaces/a"


def test_a_read_only_deployment_writes_to_its_private_store_and_reads_the_shared_one_first() -> None:
    stores = opened(namespace="a", read_only=True, read_datastores=("/released",))
    assert urls(stores) == ["file:///private", "file:///store/namespaces/a", "file:///released"]


def test_a_store_that_is_named_twice_is_read_once() -> None:
    assert urls(opened(read_datastores=("/released/", "/store", "/released"))) == [
        "file:///store",
        "file:///released",
    ]
    read_only = opened(read_only=True, read_datastores=("/store/", "/released"))
    assert urls(read_only) == ["file:///private", "file:///store", "file:///released"]


@pytest.mark.parametrize("shared", [{"datastore": "/private/"}, {"read_datastores": ("/private",)}])
def test_a_private_store_that_is_shared_is_refused(shared: dict[str, Any]) -> None:
    values = {"datastore": "/store", "private_datastore": "/private", "read_only": True, **shared}
    with pytest.raises(
        DefinitionError, match="private_datastore is '/private', which a read_only deployment"
    ):
        Stores.open(settings(**values))


def test_a_store_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(StoreError, match="'released' is not an absolute path"):
        opened(read_datastores=("released",))


@pytest.mark.parametrize(
    ("uri", "holder"),
    [
        ("file:///store/mlpipe/v1/attempts/a/outputs/x", "file:///store"),
        ("file:///store/namespaces/a/mlpipe/v1/attempts/a/outputs/x", "file:///store/namespaces/a"),
        ("file:///store/exports/x", None),
        ("file:///store/namespaces/b/mlpipe/v1/attempts/a/outputs/x", None),
        ("s3://elsewhere/mlpipe/v1/attempts/a/outputs/x", None),
    ],
)
def test_the_store_that_holds_an_output_is_found_though_one_lies_in_the_other(
    uri: str, holder: str | None
) -> None:
    found = opened(namespace="a", read_datastores=("/store",)).holding(uri)
    assert (None if found is None else found.url) == holder


def test_the_signing_key_is_read_when_it_is_needed_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = opened(signing_key="variable:signing")
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", KEY)
    assert stores.keyring.key_ids == Keyring([KEY]).key_ids
    monkeypatch.delenv("AIRFLOW_VAR_SIGNING")
    assert stores.keyring.key_ids == Keyring([KEY]).key_ids
