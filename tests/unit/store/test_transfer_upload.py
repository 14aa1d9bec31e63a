"""Uploads to real servers: whole, proven, in parts, and only of what is not there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.access import Access, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.origin import LocalFile
from airflow_mlpipe.store.transfer.remote_file import RemoteFile, service_of, stamp_of
from airflow_mlpipe.store.transfer.upload import PART, WHOLE, Uploaded, upload_files
from tests.proxy import LOST_ANSWER, LOST_REQUEST, NONE, Proxy, Request, Trouble, proxy_to, refusal
from tests.services import ObjectStore

MEGABYTE = 1 << 20


@dataclass
class Bucket:
    """A bucket behind a proxy, and files that are sent to it."""

    filesystem: Any
    path: str
    proxy: Proxy
    home: Path

    def local(self, **contents: bytes) -> list[LocalFile]:
        for name, content in contents.items():
            (self.home / name).write_bytes(content)
        return [LocalFile(self.home / name) for name in contents]

    def send(self, files: Sequence[LocalFile], digests: RemoteDigests | None = None) -> Uploaded:
        wanted = [(file, f"{self.path}/{file.path.name}") for file in files]
        return upload_files(
            self.filesystem,
            wanted,
            Progress.silent(),
            digests,
            there=self.there(),
            pause=lambda seconds: None,
        )

    def there(self) -> dict[str, RemoteFile]:
        self.filesystem.invalidate_cache()
        service = service_of(self.filesystem)
        return {
            path: RemoteFile(f"s3://{path}", info["size"], stamp_of(info), service=service)
            for path, info in self.filesystem.find(self.path, detail=True).items()
        }

    def contents(self) -> dict[str, bytes]:
        self.filesystem.invalidate_cache()
        found = self.filesystem.find(self.path)
        return {path.rpartition("/")[2]: self.filesystem.cat_file(path) for path in found}

    def sent(self, verb: str = "PUT") -> int:
        return sum(line.startswith(verb) for line in self.proxy.requests)


@pytest.fixture
def bucket(s3: ObjectStore, s3_server: str, tmp_path: Path) -> Iterator[Bucket]:
    with proxy_to(s3_server) as proxy:
        filesystem, path = opened(Access(f"{s3.url}/made", s3.through(proxy.address).options))
        yield Bucket(filesystem, path, proxy, tmp_path)


@pytest.mark.parametrize("service", ["s3", "blob", "memory"])
def test_files_of_any_size_arrive(service: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = ObjectStore(f"memory://{tmp_path.name}", {})
    store = request.getfixturevalue(service) if service != "memory" else store
    filesystem, path = opened(Access(f"{store.url}/made", store.options))
    contents = {f"{size:08}": os.urandom(size) for size in (0, 1, WHOLE, 2 * WHOLE + 1)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    files = [(LocalFile(tmp_path / name), f"{path}/{name}") for name in contents]
    uploaded = upload_files(filesystem, files, Progress.silent())

    assert {name: filesystem.cat_file(f"{path}/{name}") for name in contents} == contents
    assert uploaded == Uploaded(4, 0, sum(map(len, contents.values())))


@pytest.mark.parametrize("service", ["s3", "blob"])
def test_what_is_there_is_not_sent_again_by_any_machine(
    service: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store: ObjectStore = request.getfixturevalue(service)
    filesystem, path = opened(Access(f"{store.url}/made", store.options))
    bucket = Bucket(filesystem, path, Proxy("", lambda request: NONE), tmp_path)
    files = bucket.local(small=b"small", large=os.urandom(WHOLE + 1), other=b"other")
    bucket.send(files)
    (tmp_path / "other").write_bytes(b"OTHER")

    assert bucket.send(files) == Uploaded(1, 2, 5)
    assert bucket.contents()["other"] == b"OTHER"


def test_a_machine_knows_what_it_has_sent_without_asking_for_each_file(bucket: Bucket) -> None:
    digests = RemoteDigests(HashCache(None))
    files = bucket.local(small=b"small", large=os.urandom(WHOLE + 1))
    bucket.send(files, digests)
    bucket.proxy.requests.clear()

    assert bucket.send(files, digests).skipped == 2
    assert bucket.sent("HEAD") == bucket.sent("PUT") == 0


def test_a_file_of_the_same_size_that_others_wrote_is_replaced(bucket: Bucket) -> None:
    digests = RemoteDigests(HashCache(None))
    files = bucket.local(a=b"ours!")
    bucket.send(files, digests)
    bucket.filesystem.pipe_file(f"{bucket.path}/a", b"other")

    assert bucket.send(files, digests).sent == 1
    assert bucket.contents() == {"a": b"ours!"}


@pytest.mark.parametrize("size", [5, WHOLE + 5])
def test_a_file_that_was_changed_since_it_was_hashed_is_not_sent(bucket: Bucket, size: int) -> None:
    (file,) = bucket.local(a=b"x" * size)
    hashed = dataclasses.replace(file, digest=hashlib.sha256(b"y" * size).hexdigest())

    with pytest.raises(StoreError, match="was changed since it was hashed"):
        bucket.send([hashed])

    assert bucket.contents() == {}
    assert not bucket.filesystem.call_s3("list_multipart_uploads", Bucket=bucket.path.partition("/")[0]).get(
        "Uploads"
    )


def test_a_large_file_never_appears_with_the_digest_of_what_it_was_before(bucket: Bucket) -> None:
    (file,) = bucket.local(a=b"x" * (WHOLE + 5))

    def change_when_begun(request: Request) -> Trouble:
        if request.path.endswith("?uploads"):
            file.path.write_bytes(b"y" * (WHOLE + 5))
        return NONE

    bucket.proxy.trouble = change_when_begun

    with pytest.raises(StoreError, match="was changed since it was hashed"):
        bucket.send([file])

    assert bucket.contents() == {}


@pytest.mark.parametrize("trouble", [LOST_REQUEST, LOST_ANSWER, refusal("503 Slow Down")])
def test_a_part_that_fails_in_passing_is_sent_again_and_no_other(bucket: Bucket, trouble: Trouble) -> None:
    content = os.urandom(3 * PART)
    failed: list[str] = []

    def fail_once(request: Request) -> Trouble:
        if "partNumber=2" not in request.path or failed:
            return NONE
        failed.append(request.path)
        return trouble

    bucket.proxy.trouble = fail_once
    bucket.send(bucket.local(a=content))

    assert bucket.contents() == {"a": content}
    assert bucket.sent() == 4


def test_an_interrupted_transfer_goes_on_where_it_was(bucket: Bucket) -> None:
    names = [f"{number:03}" for number in range(60)]
    files = bucket.local(**{name: name.encode() for name in names})
    bucket.proxy.trouble = lambda request: refusal("403 Forbidden") if "/050" in request.path else NONE
    with pytest.raises(StoreError, match="/050"):
        bucket.send(files)
    bucket.proxy.trouble = lambda request: NONE
    bucket.proxy.requests.clear()

    assert bucket.send(files).skipped >= 50

    assert bucket.sent() <= 60 - 50
    assert bucket.contents() == {name: name.encode() for name in names}


def test_nothing_of_an_upload_that_failed_is_left(bucket: Bucket) -> None:
    bucket.proxy.trouble = lambda request: (
        refusal("403 Forbidden") if "partNumber=3" in request.path else NONE
    )

    with pytest.raises(StoreError, match="cannot write"):
        bucket.send(bucket.local(a=os.urandom(3 * PART)))

    assert bucket.contents() == {}
    place = {"Bucket": bucket.path.partition("/")[0]}
    assert not bucket.filesystem.call_s3("list_multipart_uploads", **place).get("Uploads")


def test_a_file_that_is_not_there_is_told(bucket: Bucket) -> None:
    with pytest.raises(StoreError, match=r"gone cannot be read"):
        bucket.send([LocalFile(bucket.home / "gone")])


def test_memory_does_not_grow_with_the_file(s3: ObjectStore, tmp_path: Path) -> None:
    filesystem, path = opened(Access(f"{s3.url}/made", s3.options))
    filesystem.exists(path)  # the client is made
    (tmp_path / "large").write_bytes(bytes(150 * MEGABYTE))

    tracemalloc.start()
    try:
        upload_files(filesystem, [(LocalFile(tmp_path / "large"), f"{path}/large")], Progress.silent())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 128_000_000
