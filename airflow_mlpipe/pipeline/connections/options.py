"""What a driver of fsspec is told, from an Airflow connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.connections.fields import DATASTORE_TYPE, DatastoreFields
from airflow_mlpipe.pipeline.connections.services import (
    BY_TYPE,
    OWN,
    PROTOCOLS,
    Options,
    service_of,
)
from airflow_mlpipe.pipeline.secrets import is_secret

# Options that are secret, besides those whose names Airflow takes for such.
_SECRET = frozenset(
    {"account_key", "client_secret", "connection_string", "credential", "passphrase", "password"}
    | {"sas_token", "secret", "token"}
)


def options_of(connection: Any, url: str) -> Options:
    """The options by which *connection* lets a driver open *url*; Airflow's masker is told of their secrets.

    Raises StoreError when the connection is for another service, or needs what is not there.
    """
    options = _translated(connection, url)
    mask(options)
    return options


def mask(options: Mapping[str, Any]) -> None:
    """Keep the secrets among *options* out of logs."""
    from airflow.sdk.log import mask_secret

    for name, value in options.items():
        if name == "headers" and isinstance(value, Mapping):
            for header in value.values():
                mask_secret(str(header).rpartition(" ")[2])  # without the "Bearer" before it
        elif isinstance(value, Mapping):
            mask(value)
        elif isinstance(value, str) and (name in _SECRET or is_secret(name, value)):
            mask_secret(value)


def complete_url(connection: Any, url: str) -> str:
    """*url* with the host and port that *connection* has, where its service needs them and it has none."""
    if service_of(url) != "sftp" or not connection.host:
        return url
    # Of a path nothing is taken for a query or a fragment.
    protocol, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    user, at, _ = server.rpartition("@")
    parts = urlsplit(f"//{server}")
    host = parts.hostname or connection.host
    port = parts.port or (connection.port if host == connection.host else None)
    return f"{protocol}://{user}{at}{host}{f':{port}' if port else ''}{slash}{path}"


def merged(options: Mapping[str, Any], more: Mapping[str, Any]) -> Options:
    """*options* with *more* in their place; mappings in both are merged likewise."""
    found = dict(options)
    for name, value in more.items():
        known = found.get(name)
        nested = isinstance(known, Mapping) and isinstance(value, Mapping)
        found[name] = merged(known, value) if nested else value  # type: ignore[arg-type]
    return found


def _translated(connection: Any, url: str) -> Options:
    service, kind, who = service_of(url), connection.conn_type, f"connection {connection.conn_id!r}"
    if kind == DATASTORE_TYPE:
        fields = DatastoreFields.of(connection)
        translate = OWN.get(service)
        if translate is not None:
            return merged(translate(connection, fields.endpoint, fields.region), fields.storage_options)
        if connection.login or connection.password:
            raise StoreError(
                f"{who} has a login or password, which mean nothing for {url}; write storage_options"
            )
        return dict(fields.storage_options)
    if kind not in BY_TYPE:
        raise StoreError(
            f"{who} is of type {kind!r}, which is for no datastore; use one of type "
            f"{', '.join(sorted([DATASTORE_TYPE, *BY_TYPE]))}"
        )
    serves, by_type = BY_TYPE[kind]
    if serves != service:
        raise StoreError(
            f"{who} is of type {kind}, which is for {' and '.join(PROTOCOLS[serves])}, and the URL is {url}; "
            "correct the one or the other"
        )
    return by_type(connection)
