"""The signing keys of a deployment, from an Airflow connection or variable.

They are in no log: Airflow's masker is told of each before anything else is done with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_mlpipe.errors import DefinitionError, MLPipeError
from airflow_mlpipe.store.signature import NO_KEYS, Keyring


def keyring_at(place: str) -> Keyring:
    """The keys at *place*, the value of ``[mlpipe] signing_key``; no keys when that is empty.

    A connection has the key as its password and earlier ones in its extra, ``{"older_keys": [...]}``. A
    variable is the key, or ``{"key": ..., "older_keys": [...]}``. White space around a key does not count.

    Raises MLPipeError when nothing is found there, which may pass, and DefinitionError when it is no key.
    """
    kind, _, name = place.partition(":")
    if not place:
        return NO_KEYS
    keys = _of_connection(name) if kind == "connection" else _of_variable(name)
    for key in keys:
        _mask(key)
    try:
        return Keyring(keys)
    except DefinitionError as error:
        raise DefinitionError(f"[mlpipe] signing_key is {place}: {error}") from error


def _of_connection(name: str) -> list[str]:
    from airflow.sdk import BaseHook

    where = f"connection {name!r}"
    with _reading(where):
        connection = BaseHook.get_connection(name)
    extra = f"the extra of {where}"
    older = _older(_object(connection.extra or "{}", extra), extra)
    return [_key(connection.password, f"the password of {where}"), *older]


def _of_variable(name: str) -> list[str]:
    from airflow.sdk import Variable

    where = f"variable {name!r}"
    with _reading(where):
        text = Variable.get(name)
    _mask(text)
    if not text.lstrip().startswith("{"):
        return [_key(text, where)]
    document = _object(text, where)
    if set(document) - {"key", "older_keys"}:
        raise DefinitionError(f"{where} has other fields than key and older_keys; remove them")
    return [_key(document.get("key"), f"key in {where}"), *_older(document, where)]


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        # Not "from": the error holds the text, and with it a key.
        raise DefinitionError(f"{where} is not JSON; write it as a JSON object") from None
    if isinstance(document, dict):
        return document
    raise DefinitionError(f"{where} is not a JSON object; write it as one")


def _older(document: dict[str, Any], where: str) -> list[str]:
    older = document.get("older_keys", [])
    if not isinstance(older, list):
        raise DefinitionError(f"older_keys in {where} is no list; write a list of texts")
    return [_key(key, f"item {number} of older_keys in {where}") for number, key in enumerate(older, start=1)]


def _key(value: Any, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise DefinitionError(f"{where} is no text; put the signing key there")


@contextmanager
def _reading(where: str) -> Iterator[None]:
    from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

    try:
        yield
    except (AirflowException, AirflowRuntimeError) as error:
        raise MLPipeError(
            f"{where}, which [mlpipe] signing_key names, cannot be read: {error}; create it, or leave the "
            "option empty"
        ) from error


def _mask(text: str) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret(text)
