"""The form of a datastore's connection, and its Test button."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.providers_manager import ProvidersManager

from airflow_mlpipe.hooks.datastore import DatastoreHook
from tests.services import ObjectStore

KEY = "QUtJQTEyMzQ1Njc4OTA="


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, str]]:
    """What the Test button of Airflow's form says of a connection."""

    def press(url: str, login: str = "", password: str = "", **extra: Any) -> tuple[bool, str]:
        fields = {"conn_type": "mlpipe_datastore", "login": login, "password": password}
        document = {**fields, "extra": {"url": url, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_RAW", json.dumps(document))
        status, message = Connection(conn_id="raw", conn_type="mlpipe_datastore").test_connection()
        return status, message

    return press


def of_s3(s3: ObjectStore) -> dict[str, Any]:
    client = s3.options["client_kwargs"]
    place = {"endpoint": client["endpoint_url"], "region": client["region_name"]}
    return {"login": s3.options["key"], "password": s3.options["secret"], **place}


def test_a_bucket_that_answers_is_fine(s3: ObjectStore, tested: Callable[..., tuple[bool, str]]) -> None:
    s3.filesystem().pipe_file(f"{s3.bucket}/raw/a.csv", b"1")
    assert tested(s3.url, **of_s3(s3)) == (True, f"{s3.url} answers")
    assert tested(f"{s3.url}/raw/", **of_s3(s3)) == (True, f"{s3.url}/raw/ answers")


def test_a_prefix_without_files_is_fine(s3: ObjectStore, tested: Callable[..., tuple[bool, str]]) -> None:
    assert tested(f"{s3.url}/new", **of_s3(s3)) == (True, f"{s3.url}/new answers; nothing is there yet")


@pytest.mark.parametrize("prefix", ["", "/x"])
def test_a_bucket_that_is_missing_is_told(
    s3: ObjectStore, tested: Callable[..., tuple[bool, str]], prefix: str
) -> None:
    status, message = tested(f"{s3.url}-other{prefix}", **of_s3(s3))
    assert not status
    assert message.startswith(f"there is no bucket or container '{s3.bucket}-other'; create it")


def test_refused_credentials_are_told_without_them(
    blob: ObjectStore, tested: Callable[..., tuple[bool, str]]
) -> None:
    parts = dict(part.split("=", 1) for part in blob.options["connection_string"].split(";") if part)
    place = {"login": parts["AccountName"], "endpoint": parts["BlobEndpoint"]}
    assert tested(blob.url, password=parts["AccountKey"], **place)[0]
    status, message = tested(blob.url, password=KEY, **place)
    assert not status
    assert message.startswith(f"{blob.url} refused: ")
    assert "AuthorizationFailure" in message
    assert KEY not in message


def test_a_server_that_does_not_answer_is_told(tested: Callable[..., tuple[bool, str]]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # and does not listen
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/data/"
        status, message = tested(address, login="ann", password=KEY)
    assert not status
    assert message.startswith(f"{address} refused: ")


def test_a_folder_answers_whether_it_is_there_or_not(
    tmp_path: Path, tested: Callable[..., tuple[bool, str]]
) -> None:
    assert tested(f"file://{tmp_path}") == (True, f"file://{tmp_path} answers")
    assert tested(f"file://{tmp_path}/new") == (True, f"file://{tmp_path}/new answers; nothing is there yet")


def test_a_connection_that_is_none_says_what_it_lacks(tested: Callable[..., tuple[bool, str]]) -> None:
    status, message = tested("")
    assert (status, message) == (
        False,
        "datastore 'raw' has no url; write one, such as s3://bucket/raw/",
    )


def test_the_filesystem_is_that_of_the_connection(tested: Callable[..., tuple[bool, str]]) -> None:
    tested("memory://hook")
    assert DatastoreHook("raw").get_conn().protocol == "memory"


def test_airflow_knows_the_form() -> None:
    manager = ProvidersManager()
    behaviour = manager.field_behaviours["mlpipe_datastore"]
    assert behaviour["hidden_fields"] == ["host", "schema", "port"]
    fields = [name for name in manager.connection_form_widgets if "mlpipe_datastore" in name]
    assert [name.rpartition("__")[2] for name in fields] == [
        "url",
        "endpoint",
        "region",
        "auth_connection",
        "storage_options",
    ]
