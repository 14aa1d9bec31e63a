"""Azure Blob Storage and Data Lake Storage."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import Any

from fsspec.asyn import sync

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.server import BLOCK, Server, SmallFile, all_of

# Metadata are identifiers there, without dashes.
_DIGEST = "mlpipe_sha256"
_ETAG = "etag="

# Bytes asked for in one request: the client keeps all of an answer in memory.
_ANSWER = 4 * BLOCK
_COPY_PAUSE = 0.2


class BlobServer(Server):
    """By adlfs. What is read is of one state of a file, and large files are sent in blocks."""

    reads_ranges = True
    writes_parts = True
    copies = True

    def read(self, path: str, start: int, stop: int, stamp: str | None) -> Generator[bytes, None, None]:
        state = _state(stamp)
        for offset in range(start, stop, _ANSWER):
            length = min(_ANSWER, stop - offset)
            with self.reporting("read", path):
                data = self.call(path, _downloaded, offset=offset, length=length, **state)
                if len(data) != length:
                    raise StoreError(f"{self.url(path)} ended early; see whether it was changed")
            yield data

    def read_small(self, files: Sequence[SmallFile]) -> list[bytes | StoreError]:
        answers = self._all_of(
            [partial(_whole, self._client(path), size, _state(stamp)) for path, size, stamp in files]
        )
        return [self.reported("read", file[0], answer) for file, answer in zip(files, answers, strict=True)]

    def write_small(self, files: Sequence[tuple[str, bytes, str]]) -> list[str | StoreError | None]:
        answers = self._all_of(
            [
                partial(_uploaded, self._client(path), data=data, metadata=_noted(digest))
                for path, data, digest in files
            ]
        )
        found = [self.reported("write", file[0], answer) for file, answer in zip(files, answers, strict=True)]
        return [answer if isinstance(answer, StoreError) else _stamp(answer) for answer in found]

    def write(self, path: str, data: bytes, digest: str) -> str | None:
        with self.reporting("write", path):
            return _stamp(self.call(path, _uploaded, data=data, metadata=_noted(digest)))

    def begin(self, path: str, digest: Callable[[], str | None]) -> BlobUpload:
        return BlobUpload(self, path)

    def copy(self, source: str, path: str, size: int, stamp: str | None) -> str | None:
        state = {f"source_{key}": value for key, value in _state(stamp).items()}
        with self.reporting("copy", source):
            begun = self.call(path, _copying, self._client(source).url, **state)
            while (properties := self.call(path, _properties)).copy.id == begun["copy_id"]:
                if properties.copy.status == "success":
                    return _stamp({"etag": properties.etag})
                if properties.copy.status != "pending":
                    raise StoreError(f"cannot copy {self.url(source)}: {properties.copy.status_description}")
                time.sleep(_COPY_PAUSE)
            return None  # somebody has put something else there meanwhile

    def digest_beside(self, path: str) -> str | None:
        with self.reporting("look at", path):
            digest = (self.call(path, _properties).metadata or {}).get(_DIGEST)
            return None if digest is None else str(digest)

    def call(self, path: str, function: Callable[..., Any], *arguments: Any, **parameters: Any) -> Any:
        """What *function* returns for a client of the blob at *path*."""
        return sync(self.filesystem.loop, function, self._client(path), *arguments, **parameters)

    def _all_of(self, requests: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        answers: list[Any] = sync(self.filesystem.loop, all_of, requests)
        return answers

    def _client(self, path: str) -> Any:
        container, blob, version = self.filesystem.split_path(path)
        return self.filesystem.service_client.get_blob_client(container, blob, version_id=version)


class BlobUpload:
    """Blocks of the blob that will be at *path*; the service forgets those that are never committed."""

    def __init__(self, server: BlobServer, path: str) -> None:
        self._server = server
        self._path = path
        # Another upload to the same path has blocks of other names.
        self._name = uuid.uuid4().hex

    def send(self, number: int, data: bytes) -> str:
        block = base64.b64encode(f"{self._name}{number:08}".encode()).decode()
        with self._server.reporting("write", self._path):
            self._server.call(self._path, _staged, block, data)
        return block

    def complete(self, sent: list[str], digest: str) -> str | None:
        with self._server.reporting("write", self._path):
            return _stamp(self._server.call(self._path, _committed, sent, metadata=_noted(digest)))

    def abort(self) -> None:
        pass


async def _downloaded(client: Any, **wanted: Any) -> Any:
    return await (await client.download_blob(max_concurrency=1, **wanted)).readall()


async def _whole(client: Any, size: int, state: dict[str, Any]) -> bytes:
    """All bytes of a small blob."""
    if not size:
        return b""
    data: bytes = await _downloaded(client, offset=0, length=size, **state)
    if len(data) != size:
        raise StoreError(f"{client.blob_name} ended early; see whether it was changed")
    return data


async def _uploaded(client: Any, **wanted: Any) -> Any:
    return await client.upload_blob(overwrite=True, **wanted)


async def _staged(client: Any, block: str, data: bytes) -> Any:
    return await client.stage_block(block, data, length=len(data))


async def _committed(client: Any, blocks: list[str], **wanted: Any) -> Any:
    from azure.storage.blob import BlobBlock

    return await client.commit_block_list([BlobBlock(block) for block in blocks], **wanted)


async def _copying(client: Any, source: str, **wanted: Any) -> Any:
    return await client.start_copy_from_url(source, **wanted)


async def _properties(client: Any) -> Any:
    return await client.get_blob_properties()


def _noted(digest: str) -> dict[str, str]:
    # The driver takes a blob without the first for what it may be.
    return {"is_directory": "false", _DIGEST: digest}


def _state(stamp: str | None) -> dict[str, Any]:
    """The condition that a blob is in the state *stamp*."""
    from azure.core import MatchConditions

    if stamp is None or not stamp.startswith(_ETAG):
        return {}
    return {"etag": stamp.removeprefix(_ETAG), "match_condition": MatchConditions.IfNotModified}


def _stamp(answer: Any) -> str | None:
    etag = answer.get("etag")
    return f"{_ETAG}{etag.strip(chr(34))}" if etag else None
