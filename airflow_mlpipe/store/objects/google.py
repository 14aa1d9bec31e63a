"""Google Cloud Storage."""

from __future__ import annotations

from typing import Any

from fsspec.asyn import sync

from airflow_mlpipe.store.objects.contract import Versioned
from airflow_mlpipe.store.objects.many import each_of
from airflow_mlpipe.store.objects.paths import is_at

_OBJECT = "b/{}/o/{}"


class GoogleObjects:
    """The objects of Google's service, whose versions are called generations."""

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def read(self, path: str) -> Versioned | None:
        bucket, key, _ = self._fs.split_path(path)
        try:
            headers, data = sync(self._fs.loop, self._fs._call, "GET", _OBJECT, bucket, key, alt="media")
        except FileNotFoundError:
            return None
        return Versioned(data, headers["X-Goog-Generation"])

    def create(self, path: str, data: bytes) -> bool:
        return self._put(path, data, "0")

    def replace(self, path: str, version: str, data: bytes) -> bool:
        try:
            return self._put(path, data, version)
        except FileNotFoundError:
            return False

    def delete(self, path: str, version: str) -> bool:
        bucket, key, _ = self._fs.split_path(path)
        try:
            return self._change("DELETE", _OBJECT, bucket, key, ifGenerationMatch=version)
        except FileNotFoundError:
            return False

    def weakness(self) -> None:
        return None

    def listed(self, path: str) -> dict[str, int]:
        bucket, prefix, _ = self._fs.split_path(path)
        found: dict[str, int] = {}
        page: dict[str, Any] = {"nextPageToken": None}
        while "nextPageToken" in page:
            asked = {"prefix": prefix, "pageToken": page["nextPageToken"]}
            page = sync(self._fs.loop, self._fs._call, "GET", "b/{}/o", bucket, json_out=True, **asked)
            near = {f"{bucket}/{item['name']}": int(item["size"]) for item in page.get("items", ())}
            found |= {name: size for name, size in near.items() if is_at(name, path)}
        return found

    def delete_all(self, path: str) -> None:
        sync(self._fs.loop, each_of, self._delete, list(self.listed(path)))

    async def _delete(self, path: str) -> None:
        bucket, key, _ = self._fs.split_path(path)
        await self._fs._call("DELETE", _OBJECT, bucket, key)

    def _put(self, path: str, data: bytes, version: str) -> bool:
        bucket, key, _ = self._fs.split_path(path)
        return self._change(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{{}}/o",
            bucket,
            uploadType="media",
            name=key,
            headers={"Content-Type": "application/octet-stream"},
            data=data,
            ifGenerationMatch=version,
        )

    def _change(self, method: str, path: str, *names: str, **request: Any) -> bool:
        try:
            sync(self._fs.loop, self._fs._call, method, path, *names, **request)
        except FileExistsError:  # the driver's word for a condition that did not hold
            return False
        return True
