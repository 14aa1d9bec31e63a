from __future__ import annotations

import json
import traceback

import pytest
from airflow.sdk.log import redact

from airflow_mlpipe.errors import DefinitionError, MLPipeError
from airflow_mlpipe.pipeline.signing import keyring_at
from airflow_mlpipe.store.signature import Keyring

NEW, OLD, OLDER = "new-key-" * 4, "old-key-" * 4, "older-key" * 4


def connection(monkeypatch: pytest.MonkeyPatch, password: str | None, extra: object = None) -> None:
    document = {"conn_type": "generic", "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_SIGNING", json.dumps(document))


def test_without_the_option_there_are_no_keys() -> None:
    assert keyring_at("").key_ids == ()


def test_a_variable_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", f"  {NEW}\n")
    assert keyring_at("variable:signing").key_ids == Keyring([NEW]).key_ids


def test_a_variable_may_have_older_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", json.dumps({"key": NEW, "older_keys": [OLD, OLDER]}))
    assert keyring_at("variable:signing").key_ids == Keyring([NEW, OLD, OLDER]).key_ids


def test_the_password_of_a_connection_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, NEW)
    assert keyring_at("connection:mlpipe_signing").key_ids == Keyring([NEW]).key_ids


def test_a_connection_may_have_older_keys_beside_other_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, NEW, {"older_keys": [OLD, OLDER], "owner": "platform"})
    assert keyring_at("connection:mlpipe_signing").key_ids == Keyring([NEW, OLD, OLDER]).key_ids


@pytest.mark.parametrize("key", [NEW, OLD])
def test_keys_are_masked_in_logs(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", json.dumps({"key": NEW, "older_keys": [OLD]}))
    keyring_at("variable:signing")
    assert redact(f"somebody printed {key}!") == "somebody printed ***!"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("variable:nowhere", "variable 'nowhere', which .* names, cannot be read"),
        ("connection:nowhere", "connection 'nowhere', which .* names, cannot be read"),
    ],
)
def test_a_key_that_is_not_there_is_worth_another_try(place: str, sentence: str) -> None:
    with pytest.raises(MLPipeError, match=sentence) as raised:
        keyring_at(place)
    assert not isinstance(raised.value, DefinitionError)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("unripe-secret", "signing_key is variable:signing: signing key 1 of 1 has 13 bytes"),
        ('{"key": "unripe-secret', "variable 'signing' is not JSON"),
        ('{"older_keys": ["unripe-secret"]}', "key in variable 'signing' is no text"),
        ('{"key": {"unripe-secret": 1}}', "key in variable 'signing' is no text"),
        ('{"key": "KEY", "older_keys": "unripe-secret"}', "older_keys in variable 'signing' is no list"),
        ('{"key": "KEY", "older_keys": ["unripe-secret"]}', "signing key 2 of 2 has 13 bytes"),
        ('{"key": "KEY", "older_keys": [7]}', "item 1 of older_keys in variable 'signing' is no text"),
        ('{"key": "KEY", "older": ["unripe-secret"]}', "other fields than key and older_keys"),
    ],
)
def test_a_wrong_variable_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SIGNING", text.replace("KEY", NEW))
    with pytest.raises(DefinitionError, match=sentence) as raised:
        keyring_at("variable:signing")
    assert "unripe" not in told(raised.value)
    assert NEW not in told(raised.value)


@pytest.mark.parametrize(
    ("password", "extra", "sentence"),
    [
        (None, None, "the password of connection 'mlpipe_signing' is no text"),
        ("unripe-secret", None, "signing key 1 of 1 has 13 bytes"),
        (NEW, ["unripe-secret"], "the extra of connection 'mlpipe_signing' is not a JSON object"),
        (NEW, {"older_keys": "unripe-secret"}, "older_keys in the extra of connection .* is no list"),
    ],
)
def test_a_wrong_connection_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch, password: str | None, extra: object, sentence: str
) -> None:
    connection(monkeypatch, password, extra)
    with pytest.raises(DefinitionError, match=sentence) as raised:
        keyring_at("connection:mlpipe_signing")
    assert "unripe" not in told(raised.value)


def told(error: BaseException) -> str:
    """All that a log would have of *error*, with what it came from."""
    return "".join(traceback.format_exception(error))
