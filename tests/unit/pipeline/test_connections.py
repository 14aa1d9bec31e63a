"""What drivers are told, from the connections that people have in Airflow."""

from __future__ import annotations

import base64
import json
import traceback
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.log import redact

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.connections.fields import DatastoreFields
from airflow_mlpipe.pipeline.connections.options import complete_url, options_of

SECRET = "wJalrXUtnFEMI-bPxRfiCY"
KEYFILE = {"type": "service_account", "project_id": "acme", "private_key": SECRET}


def connection(conn_type: str, extra: object = None, **fields: Any) -> Connection:
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    return Connection(conn_id="mine", conn_type=conn_type, extra=text, **fields)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {}),
        ({"login": "AKIA", "password": SECRET}, {"key": "AKIA", "secret": SECRET}),
        (
            {
                "extra": {
                    "aws_access_key_id": "AKIA",
                    "aws_secret_access_key": SECRET,
                    "aws_session_token": "t",
                }
            },
            {"key": "AKIA", "secret": SECRET, "token": "t"},
        ),
        (
            {"extra": {"region_name": "eu-west-1", "endpoint_url": "http://minio:9000", "verify": False}},
            {
                "endpoint_url": "http://minio:9000",
                "client_kwargs": {"region_name": "eu-west-1", "verify": False},
            },
        ),
        (
            {
                "extra": {
                    "service_config": {"s3": {"endpoint_url": "http://s3"}},
                    "endpoint_url": "http://all",
                }
            },
            {"endpoint_url": "http://s3"},
        ),
        ({"extra": {"profile_name": "team"}}, {"profile": "team"}),
        ({"extra": {"config_kwargs": {"signature_version": "unsigned"}}}, {"anon": True}),
        (
            {"extra": {"config_kwargs": {"s3": {"addressing_style": "path"}}}},
            {"config_kwargs": {"s3": {"addressing_style": "path"}}},
        ),
    ],
)
def test_an_aws_connection_opens_s3(given: dict[str, Any], options: dict[str, Any]) -> None:
    assert options_of(connection("aws", **given), "s3://bucket") == options
    assert options_of(connection("aws", **given), "s3a://bucket/prefix") == options


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"login": "acme", "password": SECRET}, {"account_name": "acme", "account_key": SECRET}),
        ({"host": "https://acme.blob.core.windows.net/", "password": SECRET},
         {"account_name": "acme", "account_key": SECRET}),
        ({"host": "acme", "extra": {"shared_access_key": SECRET}},
         {"account_name": "acme", "account_key": SECRET}),
        ({"host": "acme.blob.core.usgovcloudapi.net"},
         {"account_name": "acme", "account_host": "acme.blob.core.usgovcloudapi.net", "anon": False}),
        ({"login": "acme"}, {"account_name": "acme", "anon": False}),
        ({"login": "acme", "extra": {"sas_token": f"sv=1&sig={SECRET}"}},
         {"account_name": "acme", "sas_token": f"sv=1&sig={SECRET}"}),
        ({"login": "acme", "extra": {"sas_token": f"https://acme.blob.core.windows.net/?sig={SECRET}"}},
         {"account_name": "acme", "sas_token": f"sig={SECRET}"}),
        ({"extra": {"connection_string": f"AccountKey={SECRET}"}},
         {"connection_string": f"AccountKey={SECRET}"}),
        ({"host": "acme", "login": "client", "password": SECRET, "extra": {"extra__wasb__tenant_id": "t"}},
         {"account_name": "acme", "tenant_id": "t", "client_id": "client", "client_secret": SECRET}),
    ],
)  # fmt: skip
def test_a_wasb_connection_opens_azure_blob(given: dict[str, Any], options: dict[str, Any]) -> None:
    assert options_of(connection("wasb", **given), "abfs://container/x") == options


def test_an_adls_connection_opens_azure_blob() -> None:
    given = connection("adls", host="acme.dfs.core.windows.net", password=SECRET)
    assert options_of(given, "az://container") == {"account_name": "acme", "account_key": SECRET}


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ({}, {"token": "google_default"}),
        ({"keyfile_dict": json.dumps(KEYFILE), "project": "acme"}, {"token": KEYFILE, "project": "acme"}),
        ({"extra__google_cloud_platform__keyfile_dict": KEYFILE}, {"token": KEYFILE}),
        ({"key_path": "/keys/acme.json"}, {"token": "/keys/acme.json"}),
        ({"is_anonymous": True}, {"token": "anon"}),
    ],
)
def test_a_google_connection_opens_cloud_storage(extra: dict[str, Any], options: dict[str, Any]) -> None:
    assert options_of(connection("google_cloud_platform", extra), "gs://bucket") == options


@pytest.mark.parametrize("conn_type", ["sftp", "ssh"])
def test_an_ssh_connection_opens_sftp(conn_type: str) -> None:
    extra = {"key_file": "/keys/id", "private_key_passphrase": SECRET, "no_host_key_check": True}
    given = connection(conn_type, extra, host="files", port=2222, login="ann", password="word")
    assert options_of(given, "sftp://files/raw") == {
        "username": "ann",
        "password": "word",
        "key_filename": "/keys/id",
        "passphrase": SECRET,
    }


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("sftp:///raw", "sftp://files:2222/raw"),
        ("sftp://files/raw", "sftp://files:2222/raw"),
        ("sftp://files:22/raw", "sftp://files:22/raw"),
        ("sftp://other/raw", "sftp://other/raw"),
        ("s3://bucket/raw", "s3://bucket/raw"),
    ],
)
def test_an_sftp_url_takes_host_and_port_of_its_connection(url: str, complete: str) -> None:
    assert complete_url(connection("sftp", host="files", port=2222), url) == complete


def test_an_http_connection_sends_its_login_and_its_headers() -> None:
    given = connection("http", {"X-Team": "vision", "timeout": 3}, login="ann", password=SECRET)
    headers = options_of(given, "https://data.acme.org/")["client_kwargs"]["headers"]
    pair = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    assert headers == {"Authorization": f"Basic {pair}", "X-Team": "vision"}
    assert pair not in str(redact(f"somebody printed {pair}"))


@pytest.mark.parametrize(
    ("url", "extra", "options"),
    [
        ("s3://b", {"endpoint": "http://minio", "region": "eu"},
         {"key": "me", "secret": SECRET, "endpoint_url": "http://minio",
          "client_kwargs": {"region_name": "eu"}}),
        ("s3://b", {"region": "eu", "storage_options": {"client_kwargs": {"verify": False}}},
         {"key": "me", "secret": SECRET, "client_kwargs": {"region_name": "eu", "verify": False}}),
        ("az://b", {}, {"account_name": "me", "account_key": SECRET}),
        ("az://b", {"endpoint": "http://127.0.0.1:1/me/"},
         {"connection_string": f"AccountName=me;AccountKey={SECRET};BlobEndpoint=http://127.0.0.1:1/me;"}),
        ("sftp://h/x", {"endpoint": None}, {"username": "me", "password": SECRET}),
    ],
)  # fmt: skip
def test_a_connection_of_our_own_type_opens_its_url(
    url: str, extra: dict[str, Any], options: dict[str, Any]
) -> None:
    given = connection("mlpipe_datastore", {"url": url, **extra}, login="me", password=SECRET)
    assert options_of(given, url) == options


def test_a_google_key_is_the_password_of_a_connection_of_our_own_type() -> None:
    given = connection("mlpipe_datastore", {"url": "gs://b"}, password=json.dumps(KEYFILE))
    assert options_of(given, "gs://b") == {"token": KEYFILE}


def test_storage_options_may_be_a_text_as_a_form_has_it() -> None:
    extra = {"url": "memory://x", "storage_options": json.dumps({"skip_instance_cache": True})}
    assert options_of(connection("mlpipe_datastore", extra), "memory://x") == {"skip_instance_cache": True}


@pytest.mark.parametrize(
    ("given", "url", "sentence"),
    [
        (connection("aws"), "az://b", "type aws, which is for s3 and s3a, and the URL is az://b"),
        (
            connection("mysql"),
            "s3://b",
            "of type 'mysql', which is for no datastore; use one of type adls, aws",
        ),
        (connection("aws", {"role_arn": "arn:x"}), "s3://b", "pip install apache-airflow-providers-amazon"),
        (
            connection("google_cloud_platform", {"impersonation_chain": "x"}),
            "gs://b",
            "has impersonation_chain",
        ),
        (connection("sftp", {"private_key": SECRET}), "sftp://h/", "name it as key_file"),
        (connection("mlpipe_datastore", login="a"), "memory://b", "mean nothing for memory://b"),
    ],
)
def test_a_connection_that_cannot_open_a_url_says_why(given: Connection, url: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as raised:
        options_of(given, url)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (f'{{"url": "{SECRET}', "the extra of connection 'mine' is not JSON"),
        ([SECRET], "the extra of connection 'mine' is no JSON object"),
        ({"storage_options": SECRET}, "storage_options of connection 'mine' is not JSON"),
        ({"storage_options": [SECRET]}, "storage_options of connection 'mine' is no JSON object"),
        ({"secret": SECRET}, "has secret; use url, endpoint, region, auth_connection or storage_options"),
        ({"url": [SECRET]}, "url in the extra of connection 'mine' is not a text"),
    ],
)
def test_a_wrong_field_is_told_without_its_value(extra: object, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as raised:
        DatastoreFields.of(connection("mlpipe_datastore", extra))
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("conn_type", "extra", "url"),
    [
        ("mlpipe_datastore", {"storage_options": {"secret": "open-sesame-1"}}, "s3://b"),
        ("mlpipe_datastore", {"storage_options": {"account_key": "open-sesame-2"}}, "az://b"),
        ("wasb", {"sas_token": "sig=open-sesame-3"}, "az://b"),
        ("wasb", {"connection_string": "AccountKey=open-sesame-4"}, "az://b"),
        ("google_cloud_platform", {"keyfile_dict": '{"private_key": "open-sesame-5"}'}, "gs://b"),
        ("http", {"X-Api-Key": "open-sesame-6"}, "https://b"),
    ],
)
def test_secrets_are_masked_in_logs(conn_type: str, extra: dict[str, Any], url: str) -> None:
    printed = json.dumps(options_of(connection(conn_type, extra), url))
    assert "open-sesame" in printed
    assert "open-sesame" not in str(redact(printed))


def test_credentials_are_not_in_what_is_printed() -> None:
    fields = DatastoreFields.of(connection("mlpipe_datastore", {"storage_options": {"secret": SECRET}}))
    assert SECRET not in repr(fields)
