"""What a datastore promises on real object services, beyond the contract that all kinds of stores share."""

from __future__ import annotations

import os
from collections.abc import Callable

import fsspec
import pytest

from airflow_mlpipe.access import Access, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.clock import store_time
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.objects import s3 as s3_objects
from tests.proxy import NONE, Request, Trouble, proxy_to
from tests.services import ObjectStore

ODD = ["a b", "a#b", "a%20b", "a+b", "a*", "a[1]", "a?b", "a&b=c;d", "q'\"x", "ünï/ço∂é/名", "~", "a.", "-"]


@pytest.fixture(params=["s3", "blob"])
def service(request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture
def remote(service: ObjectStore) -> Datastore:
    return open_store(service)


def open_store(service: ObjectStore, **options: object) -> Datastore:
    return Datastore.open(f"{service.url}/store", **service.options, **options)


def test_names_are_taken_as_they_are(remote: Datastore) -> None:
    for name in ODD:
        assert remote.create(f"odd/{name}", name.encode())
        assert not remote.create(f"odd/{name}", b"other")
        assert remote.swap(f"odd/{name}", name.encode(), name.encode() * 2)
        assert remote.read(f"odd/{name}") == name.encode() * 2
        assert list(remote.files(f"odd/{name}")) == [StoredFile(f"odd/{name}", 2 * len(name.encode()))]
    assert [file.key for file in remote.files("odd")] == sorted(f"odd/{name}" for name in ODD)
    # As a pattern it would be two of them.
    remote.delete_tree("odd/a*")
    assert sorted(set(ODD) - {"a*"}) == sorted(file.key.removeprefix("odd/") for file in remote.files("odd"))
    remote.delete_tree("odd")
    assert list(remote.files()) == []


def test_a_file_may_be_named_like_the_folder_of_others(remote: Datastore) -> None:
    remote.write("a", b"1")
    remote.write("a/b", b"22")
    remote.write("ab", b"3")
    assert remote.read("a") == b"1"
    assert list(remote.files("a")) == [StoredFile("a", 1), StoredFile("a/b", 2)]
    remote.delete_tree("a")
    assert list(remote.files()) == [StoredFile("ab", 1)]


def test_marks_of_folders_are_no_files_and_go_with_their_folder(s3: ObjectStore) -> None:
    store = open_store(s3)
    store.write("a/b", b"")
    s3.filesystem().call_s3("put_object", Bucket=s3.bucket, Key="store/a/empty/", Body=b"")
    assert list(store.files("a")) == [StoredFile("a/b", 0)]
    store.delete_tree("a")
    assert s3.filesystem().call_s3("list_objects_v2", Bucket=s3.bucket)["KeyCount"] == 0


def test_more_files_than_a_page_are_listed_and_deleted_by_a_few_requests(
    s3: ObjectStore, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ten_to_a_page(request: Request) -> Trouble:
        if "list-type" in request.path:
            request.path += "&max-keys=10"
        return NONE

    monkeypatch.setattr(s3_objects, "_PER_REQUEST", 10)
    s3.filesystem().pipe({f"{s3.bucket}/store/many/{number:02}": b"" for number in range(25)})
    with proxy_to(s3_server, ten_to_a_page) as proxy:
        store = open_store(s3.through(proxy.address))
        assert [file.key for file in store.files("many")] == [f"many/{number:02}" for number in range(25)]
        store.delete_tree("many")
        verbs = [request.partition(" ")[0] for request in proxy.requests]
        assert verbs == ["GET"] * 6 + ["POST"] * 3
        assert list(store.files()) == []


def test_a_file_that_cannot_be_deleted_is_an_error(s3: ObjectStore, s3_server: str) -> None:
    said = b"<DeleteResult><Error><Key>store/a/b</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(said), said)

    def refuse(request: Request) -> Trouble:
        return Trouble(reaches=False, answer=answer) if request.verb == "POST" else NONE

    open_store(s3).write("a/b", b"")
    expected = pytest.raises(StoreError, match=r"cannot delete .*: store/a/b: AccessDenied")
    with proxy_to(s3_server, refuse) as proxy, expected:
        open_store(s3.through(proxy.address)).delete_tree("a")


def test_what_others_write_and_delete_is_seen_at_once(service: ObjectStore, remote: Datastore) -> None:
    protocol, _, place = f"{service.url}/store".partition("://")
    other = fsspec.filesystem(protocol, **service.options, skip_instance_cache=True)
    remote.write("a/b", b"1")
    assert [file.key for file in remote.files("a")] == ["a/b"]
    other.pipe_file(f"{place}/a/c", b"22")
    other.pipe_file(f"{place}/a/b", b"333")
    assert list(remote.files("a")) == [StoredFile("a/b", 3), StoredFile("a/c", 2)]
    assert remote.exists("a/c")
    assert remote.digest("a/b") == "556d7dc3a115356350f1f9910b1af1ab0e312d4b3e4fc788d2da63668f36d017"
    other.rm_file(f"{place}/a/b")
    assert remote.read("a/b") is None
    assert remote.digest("a/b") is None
    assert [file.key for file in remote.files("a")] == ["a/c"]


def test_times_are_those_of_the_server(remote: Datastore) -> None:
    remote.write("a", b"")
    before, written = store_time(remote), remote.written_at("a")
    assert before is not None
    assert written is not None
    assert 0 <= before - written < 60
    assert remote.written_at("none") is None
    assert [file.key for file in remote.files()] == ["a"]


def _in_a_child(work: Callable[[], bool]) -> bool:
    """Whether *work* succeeded in a forked process, which has no threads but its own."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_a_store_works_on_both_sides_of_a_fork(remote: Datastore) -> None:
    remote.write("a", b"1")
    assert _in_a_child(lambda: remote.read("a") == b"1" and remote.swap("a", b"1", b"2"))
    assert remote.read("a") == b"2"
    assert remote.swap("a", b"2", None)


def test_the_patience_of_drivers_ends_within_a_minute(s3: ObjectStore, blob: ObjectStore) -> None:
    driver, _ = opened(Access(s3.url, s3.options))
    limits = driver.config_kwargs
    assert limits["read_timeout"] * limits["retries"]["total_max_attempts"] * driver.retries < 50
    driver, _ = opened(Access(blob.url, blob.options))
    waits = driver.service_client._pipeline._transport.connection_config
    retries = driver.service_client.get_container_client("x")._config.retry_policy
    assert waits.read_timeout * (1 + retries.total_retries) < 50
    assert retries.get_backoff_time({"count": retries.total_retries}) < 10


def test_the_limits_of_a_datastore_itself_count(s3: ObjectStore) -> None:
    own = {"read_timeout": 120, "retries": {"total_max_attempts": 1}}
    driver, _ = opened(Access(s3.url, {**s3.options, "config_kwargs": own, "use_listings_cache": True}))
    assert driver.config_kwargs["read_timeout"] == 120
    assert driver.config_kwargs["retries"] == {"total_max_attempts": 1}
    assert driver.config_kwargs["connect_timeout"] < 60
