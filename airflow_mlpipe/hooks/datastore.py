"""The hook behind connections of type ``mlpipe_datastore``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from airflow_mlpipe.access import Access, opened, told
from airflow_mlpipe.errors import MLPipeError, StoreError
from airflow_mlpipe.pipeline.connections.fields import DATASTORE_TYPE, connection_of
from airflow_mlpipe.pipeline.connections.services import service_of
from airflow_mlpipe.pipeline.datastores import access_of_connection

# The first part of a path names what has to be there; what lies in it comes with the first file.
_HAS_BUCKETS = ("s3", "az", "gs")


class DatastoreHook(BaseHook):
    """Opens the datastore that a connection describes."""

    conn_name_attr = "datastore_conn_id"
    default_conn_name = "mlpipe_default"
    conn_type = DATASTORE_TYPE
    hook_name = "MLPipe datastore"

    def __init__(self, datastore_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.datastore_conn_id = datastore_conn_id

    def get_conn(self) -> Any:
        """The fsspec filesystem of the datastore; StoreError when it cannot be opened."""
        return opened(self._access())[0]

    def test_connection(self) -> tuple[bool, str]:
        """Whether the datastore answers to these credentials, and a sentence on it."""
        try:
            access = self._access()
            filesystem, path = opened(access)
        except MLPipeError as error:
            return False, str(error)
        try:
            return _reached(access, filesystem, path)
        except Exception as error:  # whatever a driver or its client library raises
            return False, f"{access.url} refused: {told(error, access)}; check the URL and the credentials"

    def _access(self) -> Access:
        connection = connection_of(self.datastore_conn_id)
        if connection is None:
            raise StoreError(f"Airflow has no connection {self.datastore_conn_id!r}; create it")
        return access_of_connection(connection)


def _reached(access: Access, filesystem: Any, path: str) -> tuple[bool, str]:
    """Ask for *path*, and for its bucket when nothing is there yet."""
    service = service_of(access.url)
    try:
        filesystem.info(path)
    except FileNotFoundError as error:
        if service == "http" and error.__cause__ is not None:
            raise error.__cause__ from None  # its driver says so of whatever fails
        bucket, _, inside = path.strip("/").partition("/")
        if service in _HAS_BUCKETS and not (inside and _is_there(filesystem, bucket)):
            return False, f"there is no bucket or container {bucket!r}; create it, or correct the URL"
        return True, f"{access.url} answers; nothing is there yet"
    return True, f"{access.url} answers"


def _is_there(filesystem: Any, bucket: str) -> bool:
    try:
        filesystem.info(bucket)
    except FileNotFoundError:
        return False
    except Exception:  # credentials for what lies below a prefix may not see the bucket itself
        return True
    return True
