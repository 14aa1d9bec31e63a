"""S3 and what speaks like it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from fsspec.asyn import sync

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.server import BLOCK, Server, SmallFile, all_of

_DIGEST = "mlpipe-sha256"
_ETAG = "ETag="

# What is larger is copied by the driver, in parts.
_COPIED_AT_ONCE = 5 << 30


class S3Server(Server):
    """By s3fs. What is read is of one state of a file, and large files are sent in parts."""

    reads_ranges = True
    writes_parts = True
    copies = True
    stamps_are_of_content = True

    def read(self, path: str, start: int, stop: int, stamp: str | None) -> Generator[bytes, None, None]:
        left = stop - start
        if not left:
            return
        with self.reporting("read", path):
            body, block = self._sync(_begun, self.filesystem, self._part(path, start, stop, stamp), left)
            try:
                while block:
                    yield block
                    left -= len(block)
                    block = self._sync(_block, body, left)
            finally:
                self.filesystem.loop.call_soon_threadsafe(body.close)
            if left:
                raise StoreError(f"{self.url(path)} ended {left} bytes early; see whether it was changed")

    def read_small(self, files: Sequence[SmallFile]) -> list[bytes | StoreError]:
        wanted = [(self._part(path, 0, size, stamp), size) for path, size, stamp in files]
        answers = self._sync(all_of, [partial(_whole, self.filesystem, *file) for file in wanted])
        return [self.reported("read", file[0], answer) for file, answer in zip(files, answers, strict=True)]

    def write(self, path: str, data: bytes, digest: str) -> str | None:
        with self.reporting("write", path):
            return _stamp(self.call("put_object", **self._object(path, data, digest)))

    def write_small(self, files: Sequence[tuple[str, bytes, str]]) -> list[str | StoreError | None]:
        put = partial(self.filesystem._call_s3, "put_object")
        answers = self._sync(all_of, [partial(put, **self._object(*file)) for file in files])
        found = [self.reported("write", file[0], answer) for file, answer in zip(files, answers, strict=True)]
        return [answer if isinstance(answer, StoreError) else _stamp(answer) for answer in found]

    def begin(self, path: str, digest: Callable[[], str | None]) -> S3Upload:
        # What is noted beside a file is said before its first byte.
        known = digest()
        noted = {} if known is None else {_DIGEST: known}
        with self.reporting("write", path):
            answer = self.call("create_multipart_upload", **self.place(path), Metadata=noted)
            return S3Upload(self, path, answer["UploadId"], known)

    def copy(self, source: str, path: str, size: int, stamp: str | None) -> str | None:
        if size >= _COPIED_AT_ONCE:
            return super().copy(source, path, size, stamp)
        with self.reporting("copy", source):
            state = {f"CopySource{key}": value for key, value in _state(stamp).items()}
            answer = self.call("copy_object", **self.place(path), CopySource=self.place(source), **state)
            return _stamp(answer["CopyObjectResult"])

    def digest_beside(self, path: str) -> str | None:
        with self.reporting("look at", path):
            digest = self.call("head_object", **self.place(path)).get("Metadata", {}).get(_DIGEST)
            return None if digest is None else str(digest)

    def place(self, path: str) -> dict[str, str]:
        """*path* as requests name it."""
        bucket, key, version = self.filesystem.split_path(path)
        return {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}

    def _part(self, path: str, start: int, stop: int, stamp: str | None) -> dict[str, str]:
        return {**self.place(path), "Range": f"bytes={start}-{stop - 1}", **_state(stamp)}

    def _object(self, path: str, data: bytes, digest: str) -> dict[str, Any]:
        return {**self.place(path), "Body": data, "Metadata": {_DIGEST: digest}}

    def call(self, method: str, **parameters: Any) -> Any:
        """The answer to one request."""
        return self._sync(self.filesystem._call_s3, method, **parameters)

    def _sync(self, function: Any, *arguments: Any, **parameters: Any) -> Any:
        return sync(self.filesystem.loop, function, *arguments, **parameters)


class S3Upload:
    """A multipart upload of the file that will be at *path*, beside which the digest *noted* is to be."""

    def __init__(self, server: S3Server, path: str, upload: str, noted: str | None) -> None:
        self._server = server
        self._path = path
        self._noted = noted
        self._place = {**server.place(path), "UploadId": upload}

    def send(self, number: int, data: bytes) -> str:
        with self._server.reporting("write", self._path):
            answer = self._server.call("upload_part", **self._place, PartNumber=number, Body=data)
            return str(answer["ETag"])

    def complete(self, sent: list[str], digest: str) -> str | None:
        if self._noted not in (None, digest):
            raise StoreError(
                f"what is sent to {self._server.url(self._path)} was changed since it was hashed; let "
                "nothing write there meanwhile"
            )
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(sent, 1)]
        with self._server.reporting("write", self._path):
            whole = {"Parts": parts}
            return _stamp(
                self._server.call("complete_multipart_upload", **self._place, MultipartUpload=whole)
            )

    def abort(self) -> None:
        with self._server.reporting("write", self._path):
            self._server.call("abort_multipart_upload", **self._place)


async def _begun(filesystem: Any, wanted: dict[str, str], left: int) -> tuple[Any, bytes]:
    """The body of an answer, and its first block: for a small file one call from another thread does."""
    body = (await filesystem._call_s3("get_object", **wanted))["Body"]
    try:
        return body, await _block(body, left)
    except BaseException:
        body.close()
        raise


async def _whole(filesystem: Any, wanted: dict[str, str], size: int) -> bytes:
    """All bytes of a small file."""
    if not size:
        return b""
    body, data = await _begun(filesystem, wanted, size)
    body.close()
    if len(data) != size:
        raise StoreError(f"{wanted['Key']} ended {size - len(data)} bytes early; see whether it was changed")
    return data


async def _block(body: Any, left: int) -> bytes:
    """The next of *left* bytes, b"" when there are no more; single pieces are not worth waking a thread."""
    pieces, size = [], 0
    while size < min(left, BLOCK) and (piece := await body.read(min(left, BLOCK) - size)):
        pieces.append(piece)
        size += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _state(stamp: str | None) -> dict[str, str]:
    """The condition that a file is in the state *stamp*."""
    return {"IfMatch": stamp.removeprefix(_ETAG)} if stamp and stamp.startswith(_ETAG) else {}


def _stamp(answer: dict[str, Any]) -> str | None:
    return f"{_ETAG}{answer['ETag']}" if answer.get("ETag") else None
