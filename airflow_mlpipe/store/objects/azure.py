"""Azure Blob Storage, with or without a hierarchical namespace."""

from __future__ import annotations

from typing import Any

from fsspec.asyn import sync

from airflow_mlpipe.store.objects.contract import Versioned
from airflow_mlpipe.store.objects.many import each_of
from airflow_mlpipe.store.objects.paths import is_at

# What the driver writes, so that it tells a file from the mark of a folder.
_METADATA = {"is_directory": "false"}


class AzureObjects:
    """The blobs of an account."""

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def read(self, path: str) -> Versioned | None:
        found: Versioned | None = sync(self._fs.loop, self._read, path)
        return found

    def create(self, path: str, data: bytes) -> bool:
        return self._change("upload_blob", path, data=data, overwrite=False, metadata=_METADATA)

    def replace(self, path: str, version: str, data: bytes) -> bool:
        put = {"data": data, "overwrite": True, "metadata": _METADATA}
        return self._change("upload_blob", path, **put, **_if_it_is(version))

    def delete(self, path: str, version: str) -> bool:
        return self._change("delete_blob", path, **_if_it_is(version))

    def weakness(self) -> None:
        return None

    def listed(self, path: str) -> dict[str, int]:
        blobs = sync(self._fs.loop, self._list, path)
        return {name: blob["size"] for name, blob in blobs.items() if blob["type"] == "file"}

    def delete_all(self, path: str) -> None:
        blobs = sync(self._fs.loop, self._list, path)
        files = [name for name, blob in blobs.items() if blob["type"] == "file"]
        sync(self._fs.loop, each_of, self._fs._rm_file, files)
        # With a hierarchical namespace folders are there too, and go when nothing is below them any more.
        for folder in sorted(blobs.keys() - files, reverse=True):
            sync(self._fs.loop, each_of, self._fs._rm_file, [folder])

    async def _list(self, path: str) -> dict[str, Any]:
        container, name, _ = self._fs.split_path(path)
        async with self._fs.service_client.get_container_client(container=container) as client:
            near = client.list_blobs(name_starts_with=name, include=["metadata"])
            blobs = await self._fs._details([blob async for blob in near])
        return {blob["name"]: blob for blob in blobs if is_at(blob["name"], path)}

    def _change(self, verb: str, path: str, **request: Any) -> bool:
        from azure.core.exceptions import HttpResponseError

        try:
            sync(self._fs.loop, self._send, verb, path, **request)
        except HttpResponseError as error:
            if getattr(error, "error_code", None) in ("BlobAlreadyExists", "BlobNotFound", "ConditionNotMet"):
                return False
            raise
        return True

    async def _read(self, path: str) -> Versioned | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            answer = await self._send("download_blob", path)
            return Versioned(await answer.readall(), answer.properties.etag)
        except ResourceNotFoundError as error:
            if getattr(error, "error_code", None) == "ContainerNotFound":
                raise
            return None

    async def _send(self, verb: str, path: str, **request: Any) -> Any:
        container, name, _ = self._fs.split_path(path)
        async with self._fs.service_client.get_blob_client(container=container, blob=name) as blob:
            return await getattr(blob, verb)(**request)


def _if_it_is(version: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": version, "match_condition": MatchConditions.IfNotModified}
