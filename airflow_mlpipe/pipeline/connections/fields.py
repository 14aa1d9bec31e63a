"""The fields of an Airflow connection, as far as datastores read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_mlpipe.errors import StoreError

DATASTORE_TYPE = "mlpipe_datastore"


@dataclass(frozen=True)
class DatastoreFields:
    """What the extra of a connection of type ``mlpipe_datastore`` says; "" for what it does not."""

    url: str = ""
    endpoint: str = ""
    region: str = ""
    auth_connection: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: Any) -> DatastoreFields:
        """Read the extra of *connection*; StoreError for fields that there are not, and for wrong values."""
        who = f"connection {connection.conn_id!r}"
        extra = {name: value for name, value in extra_of(connection).items() if value not in (None, "")}
        options = _object(extra.pop("storage_options", {}), f"storage_options of {who}")
        known = [name for name in cls.__dataclass_fields__ if name != "storage_options"]
        if unknown := sorted(set(extra) - set(known)):
            raise StoreError(
                f"the extra of {who} has {', '.join(unknown)}; use {', '.join(known)} or storage_options"
            )
        if odd := sorted(name for name, value in extra.items() if not isinstance(value, str)):
            raise StoreError(f"{odd[0]} in the extra of {who} is not a text; write one")
        return cls(**extra, storage_options=options)

    def beside_auth(self, service: str) -> dict[str, Any]:
        """What this adds to the options of its ``auth_connection``; StoreError for what it cannot add."""
        if (self.endpoint and service not in ("s3", "gs")) or (self.region and service != "s3"):
            raise StoreError(
                f"endpoint and region beside auth_connection {self.auth_connection!r} mean nothing for "
                f"{service}://; say it in that connection, or in storage_options"
            )
        endpoint = {"endpoint_url": self.endpoint} if self.endpoint else {}
        region = {"client_kwargs": {"region_name": self.region}} if self.region else {}
        return {**endpoint, **region, **self.storage_options}


def connection_of(conn_id: str) -> Any | None:
    """The Airflow connection *conn_id*, None when there is none; StoreError when it cannot be asked for."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowRuntimeError

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    except (AirflowException, AirflowRuntimeError) as error:
        raise StoreError(f"connection {conn_id!r} cannot be looked up: {error}; try again") from error


def extra_of(connection: Any) -> dict[str, Any]:
    """The extra of *connection*, its names without the ``extra__TYPE__`` that older forms put before them.

    Raises StoreError when it is no JSON object.
    """
    extra = _object(connection.extra or {}, f"the extra of connection {connection.conn_id!r}")
    prefix = f"extra__{connection.conn_type}__"
    return {name.removeprefix(prefix): value for name, value in extra.items()}


def _object(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            # Not "from": the error holds the text, and with it what may be secret.
            raise StoreError(f"{where} is not JSON; write a JSON object") from None
    if not isinstance(value, dict):
        raise StoreError(f"{where} is no JSON object; write one")
    return value
