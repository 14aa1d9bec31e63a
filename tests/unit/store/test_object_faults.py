"""Object services behind a network that loses and cuts what it carries, and is slow: all comes out right."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.store.remote_folder import RemoteFolder
from airflow_mlpipe.store.sealing import seal
from tests.proxy import (
    CUT_ANSWER,
    LOST_ANSWER,
    NONE,
    SLOW_LINK,
    Proxy,
    Request,
    Trouble,
    proxy_to,
    refusal,
    silent_server,
)
from tests.services import ObjectStore, new_bucket, new_container
from tests.unit.store.conftest import FINGERPRINT, MakeManifest

BUSY = refusal("503 Slow Down", b"<Error><Code>SlowDown</Code><Message>too many requests</Message></Error>")
OLD, NEW = b"old" * 1000, b"new" * 1000

Work = Callable[[Datastore], bool]


class Once:
    """Trouble for the *number*-th request from now on, counted from 1, and for no other."""

    def __init__(self, trouble: Trouble, number: int) -> None:
        self._trouble = trouble
        self._left = number

    def __call__(self, request: Request) -> Trouble:
        self._left -= 1
        return self._trouble if self._left == 0 else NONE


@pytest.fixture(scope="module")
def s3_proxy(s3_server: str) -> Iterator[tuple[Proxy, ObjectStore]]:
    with proxy_to(s3_server) as proxy:
        yield proxy, new_bucket(s3_server).through(proxy.address)


@pytest.fixture(scope="module")
def blob_proxy(blob_server: str) -> Iterator[tuple[Proxy, ObjectStore]]:
    with proxy_to(blob_server) as proxy:
        yield proxy, new_container(blob_server).through(proxy.address)


@pytest.fixture(params=["s3", "blob"])
def proxied(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, Datastore]]:
    """A proxy, and an empty store behind it."""
    proxy, service = request.getfixturevalue(f"{request.param}_proxy")
    folder = RemoteFolder(f"{service.url}/{uuid.uuid4().hex}", dict(service.options))
    folder.weakness()  # an S3 server that is not Amazon's is tried out once
    yield proxy, Datastore(folder, pause=lambda seconds: None)
    proxy.trouble = lambda request: NONE


def creates(store: Datastore) -> bool:
    done = store.create("new", NEW) and not store.create("a", NEW)
    store.delete_tree("new")
    return done and not store.exists("new")


def exchanges(store: Datastore) -> bool:
    return store.swap("a", OLD, NEW) and not store.swap("a", OLD, b"") and store.swap("a", NEW, OLD)


def withdraws(store: Datastore) -> bool:
    return store.swap("a", OLD, None) and store.read("a") is None and store.create("a", OLD)


def reads(store: Datastore) -> bool:
    store.write("a", OLD)
    listed = [(file.key, file.size) for file in store.files()] == [("a", 3000)]
    return listed and store.read("a") == OLD and store.digest("a") == hashlib.sha256(OLD).hexdigest()


@pytest.mark.parametrize("work", [creates, exchanges, withdraws, reads])
def test_whichever_answer_is_lost_all_comes_out_right(proxied: tuple[Proxy, Datastore], work: Work) -> None:
    comes_out_right(*proxied, LOST_ANSWER, work)


@pytest.mark.parametrize(
    ("proxied", "work"), [("s3", exchanges), ("s3", reads), ("blob", exchanges)], indirect=["proxied"]
)
def test_whichever_answer_is_cut_all_comes_out_right(proxied: tuple[Proxy, Datastore], work: Work) -> None:
    comes_out_right(*proxied, CUT_ANSWER, work)


def comes_out_right(proxy: Proxy, store: Datastore, trouble: Trouble, work: Work) -> None:
    store.write("a", OLD)
    proxy.requests.clear()
    assert work(store)
    for number in range(1, len(proxy.requests) + 1):
        proxy.trouble = Once(trouble, number)
        assert work(store), f"request {number} of {proxy.requests}"
        proxy.trouble = lambda request: NONE
        store.write("a", OLD)


def test_a_busy_server_is_asked_again(proxied: tuple[Proxy, Datastore]) -> None:
    proxy, store = proxied
    proxy.trouble = Once(BUSY, 1)
    assert store.create("a", NEW)
    assert store.read("a") == NEW


def test_over_a_slow_link_a_lease_is_held_and_outputs_are_sealed(
    proxied: tuple[Proxy, Datastore], make_manifest: MakeManifest
) -> None:
    proxy, store = proxied
    proxy.trouble = lambda request: SLOW_LINK
    lease = Leases(store).take(FINGERPRINT, "anna", "attempt-1")
    assert isinstance(lease, Lease)
    manifest = make_manifest(store, "attempt-1")
    assert lease.renew()
    assert seal(store, manifest) == manifest
    lease.release()
    assert Leases(store).current(FINGERPRINT) is None


def test_a_server_that_is_silent_is_an_error_when_the_limit_is_over() -> None:
    with silent_server() as address:
        limits = {"read_timeout": 0.2, "retries": {"total_max_attempts": 1}}
        client = {"endpoint_url": address, "region_name": "eu-west-1"}
        options = {"key": "key", "secret": "secret", "client_kwargs": client, "config_kwargs": limits}
        store = Datastore(RemoteFolder("s3://bucket/store", options), pause=lambda seconds: None)
        with pytest.raises(StoreError, match=r"cannot read .*Read timeout"):
            store.read("a")
