"""Where the name of a datastore leads, and which credentials open a URL."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe import access
from airflow_mlpipe.access import Access
from airflow_mlpipe.errors import DefinitionError, StoreError
from airflow_mlpipe.model.datastore import DatastoreEntry, parse_datastores
from airflow_mlpipe.pipeline.datastores import Datastores, know_datastores
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from tests.services import ObjectStore

SECRET = "wJalrXUtnFEMI-bPxRfiCY"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes an Airflow connection."""

    def make(conn_id: str, conn_type: str = "mlpipe_datastore", **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": conn_type, **fields}))

    return make


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "datastores.yaml"
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORES", str(path))
    return path


def test_a_connection_of_its_id_is_a_datastore(connect: Callable[..., None]) -> None:
    connect("raw", login="AKIA", password=SECRET, extra={"url": "s3://company-raw/daily/"})
    found = Datastores().access_to("datastore://raw/2026/a b#?.csv")
    assert found.url == "s3://company-raw/daily/2026/a b#?.csv"
    assert found.options == {"key": "AKIA", "secret": SECRET}
    assert SECRET not in repr(found)


def test_the_whole_of_a_datastore_is_its_url(connect: Callable[..., None]) -> None:
    connect("raw", extra={"url": "memory://raw/"})
    assert Datastores().access_to("datastore://raw") == Access("memory://raw/")


def test_the_file_goes_before_connections(file: Path, connect: Callable[..., None]) -> None:
    connect("raw", extra={"url": "memory://of-the-connection"})
    file.write_text("raw: {url: memory://of-the-file, storage_options: {skip_instance_cache: true}}\n")
    found = Datastores().access_to("datastore://raw/x")
    assert found == Access("memory://of-the-file/x", {"skip_instance_cache": True})


def test_a_datastore_of_the_file_takes_the_credentials_of_a_connection(
    file: Path, connect: Callable[..., None]
) -> None:
    connect("aws_default", "aws", login="AKIA", password=SECRET, extra={"region_name": "eu"})
    file.write_text(
        "raw: {url: s3://raw, connection: aws_default, storage_options: {client_kwargs: {verify: false}}}\n"
    )
    options = Datastores().access_to("datastore://raw/x").options
    assert options == {
        "key": "AKIA",
        "secret": SECRET,
        "client_kwargs": {"region_name": "eu", "verify": False},
    }


def test_a_connection_takes_the_credentials_of_another(connect: Callable[..., None]) -> None:
    connect("aws_default", "aws", login="AKIA", password=SECRET)
    connect("raw", extra={"url": "s3://raw", "auth_connection": "aws_default", "region": "eu"})
    assert Datastores().access_to("datastore://raw").options == {
        "key": "AKIA",
        "secret": SECRET,
        "client_kwargs": {"region_name": "eu"},
    }


def test_an_sftp_datastore_needs_no_host_but_that_of_its_connection(connect: Callable[..., None]) -> None:
    connect("files", "sftp", host="files.acme.org", port=2222, login="ann", password=SECRET)
    connect("raw", extra={"url": "sftp:///srv/raw", "auth_connection": "files"})
    assert Datastores().access_to("datastore://raw/x").url == "sftp://files.acme.org:2222/srv/raw/x"


def test_the_path_of_an_sftp_datastore_and_its_user_stay_as_they_are(connect: Callable[..., None]) -> None:
    connect("files", "sftp", host="files.acme.org", port=2222, password=SECRET)
    url = "sftp://ann@files.acme.org/srv/raw#1"
    connect("raw", extra={"url": url, "auth_connection": "files"})
    found = Datastores().access_to("datastore://raw/x")
    assert found.url == "sftp://ann@files.acme.org:2222/srv/raw#1/x"


def test_a_folder_is_a_datastore(file: Path) -> None:
    file.write_text("shared: {url: /mnt/shared}\n")
    assert Datastores().access_to("datastore://shared/x") == Access("file:///mnt/shared/x")


def test_default_is_the_deployments_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "/mnt/ml")
    monkeypatch.setenv("AIRFLOW__MLPIPE__NAMESPACE", "vision")
    assert Datastores().access_to("datastore://default/x").url == "file:///mnt/ml/namespaces/vision/x"


def test_the_deployments_own_may_have_a_name(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]
) -> None:
    connect("ml", login="AKIA", password=SECRET, extra={"url": "s3://ml"})
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://ml/airflow")
    found = Datastores().access_to("datastore://default/x")
    assert (found.url, found.options["secret"]) == ("s3://ml/airflow/x", SECRET)


def test_a_url_of_the_deployments_own_datastore_needs_nothing_looked_up_before(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]
) -> None:
    connect("ml", login="AKIA", password=SECRET, extra={"url": "s3://ml"})
    connect("released", login="OTHER", extra={"url": "s3://released"})
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://ml/airflow")
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_DATASTORES", "datastore://released/")
    datastores = Datastores()
    assert datastores.access_to("s3://ml/airflow/mlpipe/v1/x").options["key"] == "AKIA"
    assert datastores.access_to("s3://released/x").options["key"] == "OTHER"
    assert datastores.access_to("s3://ml-other/x").options == {}


def test_a_url_is_opened_with_the_options_of_the_nearest_datastore(file: Path) -> None:
    file.write_text(
        "all: {url: az://raw, storage_options: {account_name: all}}\n"
        "team: {url: abfs://raw@acme.dfs.core.windows.net/team/, storage_options: {account_name: team}}\n"
    )
    datastores = Datastores()
    opened = {
        url: datastores.access_to(url).options.get("account_name")
        for url in (
            "az://raw",
            "abfs://raw/x",
            "az://raw/team",
            "abfss://raw/team/x",
            "az://raw/teams",
            "az://rawer",
        )
    }
    assert opened == {
        "az://raw": "all",
        "abfs://raw/x": "all",
        "az://raw/team": "team",
        "abfss://raw/team/x": "team",
        "az://raw/teams": "all",
        "az://rawer": None,
    }


TWINS = """
old: {url: s3://raw, storage_options: {endpoint_url: http://old.example, key: OLD}}
new: {url: s3://raw, storage_options: {endpoint_url: http://new.example, key: NEW}}
"""


def test_of_twins_at_different_servers_the_one_that_was_asked_for_opens_its_urls(file: Path) -> None:
    file.write_text(TWINS)
    datastores = Datastores()
    with pytest.raises(StoreError, match="lies in the datastores 'old' and 'new'"):
        datastores.access_to("s3://raw/x")
    assert datastores.access_to("datastore://new/x").options["key"] == "NEW"
    assert datastores.access_to("s3://raw/x").options["key"] == "NEW"


def test_twins_at_different_servers_are_not_mixed_up(file: Path) -> None:
    file.write_text(TWINS)
    datastores = Datastores()
    datastores.access_to("datastore://old/x")
    with pytest.raises(StoreError, match="a URL does not tell them apart"):
        datastores.access_to("datastore://new/x")
    assert datastores.access_to("datastore://old/y").options["key"] == "OLD"


def test_a_place_whose_url_leads_to_another_server_is_refused(file: Path) -> None:
    file.write_text(TWINS.replace("s3://raw", "s3://raw/in", 2).replace("s3://raw/in", "s3://raw", 1))
    datastores = Datastores()
    assert datastores.access_to("datastore://old/out").options["key"] == "OLD"
    with pytest.raises(StoreError, match="another bucket or container"):
        datastores.access_to("datastore://old/in/x")


def test_one_place_may_be_known_with_different_credentials(file: Path) -> None:
    file.write_text(TWINS.replace("new.example", "old.example"))
    datastores = Datastores()
    keys = [datastores.access_to(f"datastore://{name}/x").options["key"] for name in ("old", "new")]
    assert keys == ["OLD", "NEW"]


def test_once_looked_up_a_connection_opens_urls_below_it(connect: Callable[..., None]) -> None:
    connect("raw", login="AKIA", extra={"url": "s3://raw/daily"})
    datastores = Datastores()
    assert datastores.access_to("s3://raw/daily/x").options == {}
    datastores.access_to("datastore://raw/y")
    assert datastores.access_to("s3://raw/daily/x").options == {"key": "AKIA"}


@pytest.mark.parametrize("url", ["/data/x", "file:///data/x", "local:///data/x", "data/x"])
def test_a_local_path_is_opened_as_it_is(url: str, file: Path) -> None:
    assert not file.exists()  # so that reading it would fail
    assert Datastores().access_to(url) == Access(url)


def test_credentials_are_looked_up_again_after_five_minutes(connect: Callable[..., None]) -> None:
    clock = iter((0.0, 299.0, 300.0, 300.0))
    datastores = Datastores(clock=lambda: next(clock))
    keys = []
    for key in ("first", "second", "third"):
        connect("raw", login=key, extra={"url": "s3://raw"})
        keys.append(datastores.access_to("datastore://raw").options["key"])
    assert keys == ["first", "first", "third"]


@pytest.mark.parametrize(
    ("connections", "sentence"),
    [
        ({}, "'raw' is not known: .* datastores has clean, shared, and Airflow has no connection of that id"),
        ({"raw": {"conn_type": "aws"}}, "'raw' is of type aws, which has no URL; name it as auth_connection"),
        ({"raw": {}}, "datastore 'raw' has no url; write one"),
        ({"raw": {"extra": {"url": "bucket/raw"}}}, "starts with 'bucket/raw', which is no known protocol"),
        ({"raw": {"extra": {"url": "s4://raw"}}}, "starts with 's4', which is no known protocol"),
        (
            {"raw": {"extra": {"url": f"sftp://a:{SECRET}@h/x"}}},
            "the url of datastore 'raw' holds a password",
        ),
        (
            {"raw": {"extra": {"url": "s3://raw", "auth_connection": "aws"}}},
            "names auth_connection 'aws', which Airflow has not; create it",
        ),
        (
            {"raw": {"extra": {"url": "s3://raw", "auth_connection": "raw"}}},
            "auth_connection 'raw' of datastore 'raw' is a datastore itself",
        ),
        (
            {
                "raw": {"extra": {"url": "az://raw", "auth_connection": "w", "region": "eu"}},
                "w": {"conn_type": "wasb"},
            },
            "endpoint and region beside auth_connection 'w' mean nothing for az://",
        ),
    ],
)
def test_a_datastore_that_cannot_be_found_says_why(
    file: Path, connect: Callable[..., None], connections: dict[str, Any], sentence: str
) -> None:
    file.write_text("{shared: {url: /mnt/shared}, clean: {connection: clean}}\n")
    for conn_id, fields in connections.items():
        connect(conn_id, **fields)
    with pytest.raises(StoreError, match=sentence) as raised:
        Datastores().access_to("datastore://raw/x")
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_datastore_that_is_its_own_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://default/x")
    with pytest.raises(StoreError, match="which is itself"):
        Datastores().access_to("datastore://default")


def test_the_file_is_read_strictly() -> None:
    text = "raw: {url: s3://raw, connection: aws_default}\nshared: {url: /mnt, storage_options: {a: 1}}"
    assert parse_datastores(text, "f") == {
        "raw": DatastoreEntry("s3://raw", "aws_default"),
        "shared": DatastoreEntry("/mnt", storage_options={"a": 1}),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("raw: {}", "f: datastore 'raw': it has no url, and no connection"),
        ("raw: {uri: s3://raw}", "f: datastore 'raw': there is no field 'uri'; use url, connection, storage"),
        ("a/b: {url: s3://raw}", "datastore name 'a/b' is not valid"),
        ("default: {url: s3://raw}", "what .* datastore names; choose another name"),
        (f"raw: {{url: s3://raw, storage_options: {SECRET}}}", "storage_options is no mapping"),
        (f"raw: {{url: [{SECRET}]}}", "url is not a text"),
        ("raw: {url: raw/}", "url is no URL such as"),
        ("raw: {url: 'datastore://x/'}", "url is no URL such as"),
    ],
)
def test_a_mistake_in_the_file_is_told_without_values(text: str, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence) as raised:
        parse_datastores(text, "f")
    assert SECRET not in str(raised.value)


def test_a_store_with_a_name_works_as_any(
    s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]
) -> None:
    client = s3.options["client_kwargs"]
    connect(
        "ml",
        login=s3.options["key"],
        password=s3.options["secret"],
        extra={"url": s3.url, "endpoint": client["endpoint_url"], "region": client["region_name"]},
    )
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://ml/airflow")
    know_datastores()
    store = Stores.open(Settings.read()).own
    store.write("a/b.txt", b"written")
    assert store.url == f"{s3.url}/airflow"
    opened, path = access.filesystem(store.uri("a/b.txt"))
    assert opened.cat_file(path) == b"written"
    opened, path = access.filesystem("datastore://default/a/b.txt")
    assert opened.cat_file(path) == b"written"


def test_a_driver_that_is_not_there_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(StoreError, match=r"driver is not installed .*; pip install 'airflow-mlpipe\[gcs\]'"):
        access.opened(Access("gs://bucket", {"token": "anon", "x": "not cached"}))


def test_a_driver_that_repeats_a_secret_is_not_quoted() -> None:
    with pytest.raises(StoreError, match=r"cannot open gs://bucket: .*\*\*\*") as raised:
        access.opened(Access("gs://bucket", {"token": SECRET}))
    assert SECRET not in "".join(traceback.format_exception(raised.value))
