"""Changes on a condition: what each service promises, and what is said of a server that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_mlpipe.access import Access, opened
from airflow_mlpipe.pipeline.doctor.store_checks import exactness_finding
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.objects import s3 as s3_objects
from airflow_mlpipe.store.objects.choice import object_service
from airflow_mlpipe.store.objects.contract import ObjectService
from airflow_mlpipe.store.remote_folder import RemoteFolder
from airflow_mlpipe.store.trial import try_out
from tests.proxy import NONE, Request, Trouble, proxy_to, refusal
from tests.services import ObjectStore
from tests.unit.store.google_server import google_server

CONDITIONS = ("if-match", "if-none-match")


@pytest.fixture(scope="module")
def google() -> Iterator[ObjectStore]:
    with google_server() as address:
        yield ObjectStore("gs://bucket", {"endpoint_url": address, "token": "anon", "project": "tests"})


@pytest.fixture(params=["s3", "blob", "google"])
def service(request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture
def objects(service: ObjectStore) -> ObjectService:
    driver, folder = opened(Access(f"{service.url}/store", service.options))
    return object_service(driver, folder)


def path(service: ObjectStore, name: str) -> str:
    return f"{service.bucket}/store/{name}"


def test_an_object_is_created_once(service: ObjectStore, objects: ObjectService) -> None:
    place = path(service, "a b/#%+é")
    assert objects.read(place) is None
    assert objects.create(place, b"1")
    assert not objects.create(place, b"2")
    found = objects.read(place)
    assert found is not None
    assert found.data == b"1"
    assert objects.delete(place, found.version)


def test_only_the_version_that_was_read_is_replaced_and_deleted(
    service: ObjectStore, objects: ObjectService
) -> None:
    place = path(service, "b")
    objects.create(place, b"1")
    first = objects.read(place)
    assert first is not None
    assert objects.replace(place, first.version, b"2")
    assert not objects.replace(place, first.version, b"3")
    assert not objects.delete(place, first.version)
    second = objects.read(place)
    assert second is not None
    assert second.data == b"2"
    assert objects.delete(place, second.version)
    assert objects.read(place) is None
    assert not objects.delete(place, second.version)
    assert not objects.replace(place, second.version, b"3")
    assert objects.read(place) is None


def test_a_service_that_checks_conditions_has_no_weakness(objects: ObjectService) -> None:
    assert objects.weakness() is None


def test_all_below_a_place_is_listed_and_deleted(service: ObjectStore, objects: ObjectService) -> None:
    for name in ("c", "c/d", "c/e/f", "cd"):
        assert objects.create(path(service, name), name.encode())
    sizes = {path(service, name): len(name) for name in ("c", "c/d", "c/e/f")}
    assert objects.listed(path(service, "c")) == sizes
    objects.delete_all(path(service, "c"))
    objects.delete_all(path(service, "c"))
    assert objects.listed(path(service, "c")) == {}
    objects.delete_all(path(service, "cd"))


def not_known(request: Request) -> Trouble:
    """A server that refuses what it does not know."""
    if any(name in request.headers for name in CONDITIONS):
        return refusal("501 Not Implemented", b"<Error><Code>NotImplemented</Code></Error>")
    return NONE


def overlooked(request: Request) -> Trouble:
    """A server that does not read what it does not know."""
    for name in CONDITIONS:
        request.headers.pop(name, None)
    return NONE


def only_creation(request: Request) -> Trouble:
    request.headers.pop("if-match", None)
    return NONE


@pytest.mark.parametrize(
    ("server", "requests"),
    [
        (not_known, "PUT If-None-Match and PUT If-Match and DELETE If-Match"),
        (overlooked, "PUT If-None-Match and PUT If-Match and DELETE If-Match"),
        (only_creation, "PUT If-Match and DELETE If-Match"),
    ],
)
def test_an_older_server_is_noticed_once_and_used_as_well_as_it_goes(
    s3: ObjectStore, s3_server: str, server: Callable[[Request], Trouble], requests: str
) -> None:
    with proxy_to(s3_server, server) as proxy:
        through = s3.through(proxy.address)
        store = Datastore.open(f"{through.url}/store", **through.options)
        weakness = store.weakness()
        assert weakness == f"its server does not check the condition of {requests}"
        tried = len(proxy.requests)
        try_out(store)
        assert store.weakness() == weakness
        assert not any(".mlpipe-" in request for request in proxy.requests[tried:])
        assert list(store.files()) == []


def test_the_doctor_warns_of_a_store_that_is_not_exact() -> None:
    assert exactness_finding("s3://bucket", None).level == "ok"
    warning = exactness_finding("s3://bucket", "its driver has no conditional writes")
    assert warning.level == "warn"
    assert "two workers within the same moment may both run a step, because its driver has" in warning.said


def test_a_change_that_the_server_put_off_is_tried_again(s3: ObjectStore, s3_server: str) -> None:
    conflict = refusal("409 Conflict", b"<Error><Code>ConditionalRequestConflict</Code></Error>")
    asked: list[str] = []

    def put_off_once(request: Request) -> Trouble:
        if "if-none-match" not in request.headers:
            return NONE
        asked.append(request.path)
        return conflict if len(asked) == 1 else NONE

    with proxy_to(s3_server) as proxy:
        through = s3.through(proxy.address)
        folder = RemoteFolder(f"{through.url}/store", dict(through.options))
        assert folder.weakness() is None
        proxy.trouble = put_off_once
        assert Datastore(folder, pause=lambda seconds: None).create("a", b"1")
    assert len(asked) == 2


def test_amazon_itself_is_not_tried_out(s3: ObjectStore) -> None:
    driver, folder = opened(Access(s3.url, {"key": "none", "secret": "none"}))
    assert s3_objects.S3Objects(driver, folder).weakness() is None
