"""S3, and servers that speak its language more or less."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import sync

from airflow_mlpipe.store.atomic import temporary_name
from airflow_mlpipe.store.objects.contract import Conflict, Versioned
from airflow_mlpipe.store.objects.paths import is_at

_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_NOT_KNOWN = (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_PER_REQUEST = 1000
_NOBODYS = '"00000000000000000000000000000000"'


@dataclass(frozen=True)
class Conditions:
    """The requests whose condition a server checks."""

    create: bool = True
    replace: bool = True
    delete: bool = True


# By endpoint and bucket, for this process.
_known: dict[tuple[str, str], Conditions] = {}


class S3Objects:
    """The objects of the bucket of *folder*, where a server that is not Amazon's is tried out once.

    A condition that it does not check is looked at before the change: two callers within the same moment
    may both see it hold.
    """

    def __init__(self, filesystem: Any, folder: str) -> None:
        self._fs = filesystem
        self._folder = folder

    def read(self, path: str) -> Versioned | None:
        found: Versioned | None = sync(self._fs.loop, self._read, path)
        return found

    def create(self, path: str, data: bytes) -> bool:
        if self._conditions.create:
            return self._change("put_object", path, Body=data, IfNoneMatch="*")
        return self.read(path) is None and self._change("put_object", path, Body=data)

    def replace(self, path: str, version: str, data: bytes) -> bool:
        condition = {"IfMatch": version} if self._conditions.replace else {}
        return self._change("put_object", path, Body=data, **condition)

    def delete(self, path: str, version: str) -> bool:
        condition = {"IfMatch": version} if self._conditions.delete else {}
        return self._change("delete_object", path, **condition)

    def weakness(self) -> str | None:
        known = self._conditions
        requests = (
            ("PUT If-None-Match", known.create),
            ("PUT If-Match", known.replace),
            ("DELETE If-Match", known.delete),
        )
        missing = [request for request, is_known in requests if not is_known]
        return f"its server does not check the condition of {' and '.join(missing)}" if missing else None

    def listed(self, path: str) -> dict[str, int]:
        parent, _, leaf = path.rpartition("/")
        # Asked for the path itself, the driver sends several requests, and stops at an object of that name.
        near = self._fs.find(parent, prefix=leaf, detail=True)
        return {name: entry["size"] for name, entry in near.items() if is_at(name, path)}

    def delete_all(self, path: str) -> None:
        paths = list(self.listed(path))
        for start in range(0, len(paths), _PER_REQUEST):
            objects = [self._fs.split_path(each)[:2] for each in paths[start : start + _PER_REQUEST]]
            wanted = {"Objects": [{"Key": key} for _, key in objects], "Quiet": True}
            answer = self._fs.call_s3("delete_objects", Bucket=objects[0][0], Delete=wanted)
            # Asked to delete, the driver would keep them to itself.
            for refusal in answer.get("Errors", ()):
                raise OSError(f"{refusal.get('Key')}: {refusal.get('Message') or refusal.get('Code')}")

    @property
    def _conditions(self) -> Conditions:
        bucket = self._folder.partition("/")[0]
        endpoint = str(sync(self._fs.loop, self._client, bucket).meta.endpoint_url)
        if (urlsplit(endpoint).hostname or "").endswith(_AWS):
            return Conditions()
        if (endpoint, bucket) not in _known:
            _known[endpoint, bucket] = self._tried_out()
        return _known[endpoint, bucket]

    def _tried_out(self) -> Conditions:
        """What the server does with conditions that do not hold, for an object that does not stay."""
        probe = f"{self._folder}/{temporary_name()}"
        self._change("put_object", probe, Body=b"")
        try:
            return Conditions(
                create=self._refuses("put_object", probe, Body=b"", IfNoneMatch="*"),
                replace=self._refuses("put_object", probe, Body=b"", IfMatch=_NOBODYS),
                delete=self._refuses("delete_object", probe, IfMatch=_NOBODYS),
            )
        finally:
            self._change("delete_object", probe)

    def _refuses(self, verb: str, path: str, **request: Any) -> bool:
        from botocore.exceptions import ClientError

        try:
            return not self._change(verb, path, **request)
        except ClientError as error:
            if _status(error) in _NOT_KNOWN:
                return False
            raise

    def _change(self, verb: str, path: str, **request: Any) -> bool:
        from botocore.exceptions import ClientError

        try:
            sync(self._fs.loop, self._send, verb, path, **request)
        except ClientError as error:
            if "IfMatch" not in request and "IfNoneMatch" not in request:
                raise
            if _status(error) == HTTPStatus.CONFLICT:
                raise Conflict(f"another change of {path} is under way") from error
            if _is_refusal(error, absent_is_one="IfMatch" in request):
                return False
            raise
        return True

    async def _read(self, path: str) -> Versioned | None:
        from botocore.exceptions import ClientError

        try:
            answer = await self._send("get_object", path, **self._fs.req_kw)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        async with answer["Body"] as body:
            return Versioned(await body.read(), answer["ETag"])

    async def _send(self, verb: str, path: str, **request: Any) -> Any:
        # Not by the driver, whose errors do not tell one refusal from another.
        bucket, key, _ = self._fs.split_path(path)
        method = getattr(await self._client(bucket), verb)
        return await method(**self._fs._get_s3_method_kwargs(method, Bucket=bucket, Key=key, **request))

    async def _client(self, bucket: str) -> Any:
        await self._fs.set_session()
        return await self._fs.get_s3(bucket)


def _is_refusal(error: Any, *, absent_is_one: bool) -> bool:
    if _status(error) == HTTPStatus.PRECONDITION_FAILED:
        return True
    return absent_is_one and error.response["Error"]["Code"] in ("NoSuchKey", "404")


def _status(error: Any) -> int | None:
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
