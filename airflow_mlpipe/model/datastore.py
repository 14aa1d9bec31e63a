"""Datastores by name, and the texts that name data in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard

from pydantic import field_validator

from airflow_mlpipe.access import DATASTORE
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.environment import named_sections

DEFAULT = "default"

# The name stands in a URL, and names an Airflow connection.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class Datastore(Declaration):
    """A place for data that the deployment knows by *name*, with its address and credentials.

    The name is looked up when a task runs: in the file of ``[mlpipe] datastores``, else among Airflow's
    connections. ``default`` is the deployment's own datastore, where relative destinations start.
    """

    name: str

    def __init__(self, name: str) -> None:
        super().__init__(name=name)

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        return checked_datastore_name(name)

    @classmethod
    def default(cls) -> Datastore:
        """The deployment's own datastore."""
        return cls(DEFAULT)

    def path(self, path: str = "") -> str:
        """The text that names *path* in this datastore, ``datastore://NAME/path``; globs are allowed."""
        return checked_address(f"{DATASTORE}{self.name}/{path.lstrip('/')}")


Address: TypeAlias = str | Datastore | tuple[Datastore, str]


def checked_datastore_name(name: object) -> str:
    """*name* when it may name a datastore; DefinitionError otherwise."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise DefinitionError(
        f"datastore name {name!r} is not valid: use 1 to 200 letters, digits, '_', '.' and '-', "
        "starting with a letter, a digit or '_'"
    )


def split_address(address: str) -> tuple[str, str]:
    """The name and the path, without a slash before it, of ``datastore://NAME/path``.

    Raises DefinitionError when there is no valid name, or when the path climbs out with '..'.
    """
    name, _, path = address.removeprefix(DATASTORE).partition("/")
    if ".." in path.split("/"):
        raise DefinitionError(f"{address!r} climbs out of its datastore with '..'; write a path inside it")
    return checked_datastore_name(name), path.lstrip("/")


def checked_address(address: str) -> str:
    """*address* as it is; DefinitionError when it is ``datastore://`` with a wrong name or path."""
    if address.startswith(DATASTORE):
        split_address(address)
    return address


def is_place(value: object) -> TypeGuard[tuple[Datastore, object]]:
    """Whether *value* is SDK v1's pair of a datastore and a path in it."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Datastore)


def address_of(value: object) -> str:
    """The text that names what *value* names: a path, a URL, a Datastore, or a pair of one and a path in it.

    Raises DefinitionError for anything else, and as ``split_address``.
    """
    if isinstance(value, Datastore):
        return value.path()
    if is_place(value):
        datastore, path = value
        if isinstance(path, str):
            return datastore.path(path)
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return checked_address(value)
    raise DefinitionError(
        f"{value!r} names no data; write a path, a URL, Datastore('name'), or (Datastore('name'), 'path')"
    )


@dataclass(frozen=True)
class DatastoreEntry:
    """What the file of datastores says of one: a URL, options of its driver, and whose credentials are used.

    ``connection`` is the id of an Airflow connection, which may have the URL; "" for what is not said.
    """

    url: str = ""
    connection: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_datastores(text: str, origin: str) -> dict[str, DatastoreEntry]:
    """The datastores of a YAML document ``{name: {url: ..., connection: ..., storage_options: {...}}}``.

    Raises DefinitionError that names *origin*, the datastore and the mistake, but no value: it may be secret.
    """
    entries = {}
    for name, fields in named_sections(text, origin, "datastore"):
        try:
            entries[name] = _entry(name, fields)
        except DefinitionError as error:
            raise DefinitionError(f"{origin}: datastore {name!r}: {error}") from None
    return entries


def _entry(name: str, fields: dict[str, Any]) -> DatastoreEntry:
    if checked_datastore_name(name) == DEFAULT:
        raise DefinitionError("that is what [mlpipe] datastore names; choose another name")
    known = DatastoreEntry.__dataclass_fields__
    if unknown := sorted(set(fields) - set(known)):
        raise DefinitionError(f"there is no field {unknown[0]!r}; use {', '.join(known)}")
    if not isinstance(fields.get("storage_options", {}), dict):
        raise DefinitionError("storage_options is no mapping; write the names and values of the driver")
    for said in ("url", "connection"):
        if not isinstance(fields.get(said, ""), str):
            raise DefinitionError(f"{said} is not a text; write one")
    entry = DatastoreEntry(**fields)
    if not entry.url and not entry.connection:
        raise DefinitionError("it has no url, and no connection that may have one; write either")
    if entry.url and not _is_address(entry.url):
        raise DefinitionError("url is no URL such as s3://bucket/raw/ and no absolute path; correct it")
    return entry


def _is_address(url: str) -> bool:
    return url.startswith("/") or ("://" in url and not url.startswith(DATASTORE))
