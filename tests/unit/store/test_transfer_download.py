"""Downloads from real servers: whole, proven, resumed, shared by the steps of a machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.access import Access, as_it_is, filesystem, resolve_with
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files
from airflow_mlpipe.store.transfer import download
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.transfer.server import SMALL_AT_ONCE
from tests.proxy import CUT_ANSWER, NONE, Proxy, Request, Trouble, proxy_to, refusal
from tests.services import ObjectStore

GIGABYTE = 1_000_000_000


@dataclass
class Bucket:
    """A bucket behind a proxy, and a machine that downloads from it."""

    url: str
    options: dict[str, Any]
    proxy: Proxy
    home: Path

    def put(self, **contents: bytes) -> None:
        opened, path = filesystem(f"{self.url}/")
        opened.pipe({f"{path.rstrip('/')}/{name}": data for name, data in contents.items()})

    def listed(self) -> list[RemoteFile]:
        listing = list_remote(Access(self.url, self.options))
        return list(remote_files(listing.url, listing.files))

    def cache(self, limit: int = GIGABYTE) -> DownloadCache:
        return DownloadCache(self.home / "downloads", limit)

    def downloader(self, cache: DownloadCache | None = None) -> Downloader:
        digests = RemoteDigests(HashCache(self.home / "digests.sqlite"))
        return Downloader(cache, digests, Progress.silent(), pause=lambda seconds: None)

    @property
    def reads(self) -> list[str]:
        """The requests for bytes of files."""
        return [line for line in self.proxy.requests if line.startswith("GET") and "list-type" not in line]


@pytest.fixture
def bucket(s3: ObjectStore, s3_server: str, tmp_path: Path) -> Iterator[Bucket]:
    with proxy_to(s3_server) as proxy:
        options = dict(s3.through(proxy.address).options)
        resolve_with(lambda url: Access(url, options))
        yield Bucket(s3.url, options, proxy, tmp_path)
        resolve_with(as_it_is)


@pytest.mark.parametrize("service", ["s3", "blob", "memory"])
def test_files_of_any_size_come_with_their_digests(
    service: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STRETCH", 1 << 20)
    store = ObjectStore(f"memory://{tmp_path.name}", {})
    store = request.getfixturevalue(service) if service != "memory" else store
    resolve_with(lambda url: Access(url, store.options))
    try:
        contents = {f"{size:08}": os.urandom(size) for size in (0, 1, 1 << 20, 7 * (1 << 19) + 1)}
        opened, path = filesystem(f"{store.url}/")
        opened.pipe({f"{path.rstrip('/')}/{name}": data for name, data in contents.items()})
        listing = list_remote(Access(store.url, store.options))
        files = [
            (file, tmp_path / listed.path)
            for listed, file in zip(listing.files, remote_files(listing.url, listing.files), strict=True)
        ]
        digests = Downloader(None, RemoteDigests(HashCache(None)), Progress.silent()).fetch(files, own=True)
    finally:
        resolve_with(as_it_is)

    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    assert digests == [hashlib.sha256(data).hexdigest() for data in contents.values()]


def test_a_second_download_on_the_machine_asks_the_server_for_no_byte(bucket: Bucket) -> None:
    bucket.put(a=b"1", b=b"2" * 100_000)
    files = bucket.listed()
    bucket.downloader(bucket.cache()).fetch([(f, bucket.home / "one" / f.url[-1]) for f in files], own=False)
    bucket.proxy.requests.clear()

    bucket.downloader(bucket.cache()).fetch([(f, bucket.home / "two" / f.url[-1]) for f in files], own=False)

    assert bucket.proxy.requests == []
    assert (bucket.home / "two" / "b").read_bytes() == b"2" * 100_000


def test_what_is_shared_is_read_only_and_takes_no_room_and_an_own_copy_may_be_written(bucket: Bucket) -> None:
    bucket.put(a=b"shared")
    (file,) = bucket.listed()
    shared, own = bucket.home / "shared", bucket.home / "own"

    bucket.downloader(bucket.cache()).fetch([(file, shared)], own=False)
    bucket.downloader(bucket.cache()).fetch([(file, own)], own=True)
    own.write_bytes(b"changed")

    assert shared.stat().st_mode & 0o222 == 0
    assert shared.stat().st_nlink == 2
    assert shared.read_bytes() == b"shared"


def test_an_executable_file_is_executable_and_the_same_bytes_elsewhere_are_not(bucket: Bucket) -> None:
    bucket.put(a=b"#!/bin/sh")
    (file,) = bucket.listed()
    program = RemoteFile(file.url, file.size, file.stamp, executable=True, service=file.service)
    downloader = bucket.downloader(bucket.cache())

    downloader.fetch([(program, bucket.home / "program"), (file, bucket.home / "text")], own=False)
    downloader.fetch([(program, bucket.home / "own")], own=True)

    assert os.access(bucket.home / "program", os.X_OK)
    assert os.access(bucket.home / "own", os.X_OK)
    assert not (bucket.home / "text").stat().st_mode & 0o111


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_without_the_bytes_that_it_must_have_is_refused_and_does_not_appear(
    bucket: Bucket, cached: bool
) -> None:
    bucket.put(a=b"damaged")
    wrong = RemoteFile(f"{bucket.url}/a", 7, None, "ab" * 32)
    target = bucket.home / "place" / "a"

    with pytest.raises(StoreError, match=r"SHA-256 .* instead of abab"):
        bucket.downloader(bucket.cache() if cached else None).fetch([(wrong, target)], own=False)

    assert not target.exists()
    assert not [path for path in bucket.home.rglob("*") if path.is_file() and "sqlite" not in path.name]


def test_a_file_that_was_changed_since_it_was_listed_is_refused(bucket: Bucket) -> None:
    bucket.put(a=b"before")
    (listed,) = bucket.listed()
    bucket.put(a=b"after!")

    with pytest.raises(StoreError, match="was changed since it was listed"):
        bucket.downloader(bucket.cache()).fetch([(listed, bucket.home / "a")], own=False)

    assert RemoteDigests(HashCache(bucket.home / "digests.sqlite")).find(listed) is None


def test_a_server_that_gives_other_bytes_for_the_same_state_is_not_believed(bucket: Bucket) -> None:
    bucket.put(a=b"bytes")
    (listed,) = bucket.listed()
    with HashCache(bucket.home / "digests.sqlite") as cache:
        RemoteDigests(cache).learn(listed, "ab" * 32)

    with pytest.raises(StoreError, match="instead of abab"):
        bucket.downloader().fetch([(listed, bucket.home / "a")], own=True)


def test_a_cut_connection_is_gone_on_with_from_where_it_was_cut(bucket: Bucket) -> None:
    content = os.urandom(3 << 20)
    bucket.put(a=content)
    files = bucket.listed()
    starts: list[int] = []

    def cut_once(request: Request) -> Trouble:
        if request.verb != "GET" or "range" not in request.headers:
            return NONE
        starts.append(int(request.headers["range"].removeprefix("bytes=").partition("-")[0]))
        return CUT_ANSWER if len(starts) == 1 else NONE

    bucket.proxy.trouble = cut_once
    bucket.downloader().fetch([(files[0], bucket.home / "a")], own=True)

    assert (bucket.home / "a").read_bytes() == content
    # The client may lose, with the connection, a block that it has not handed on.
    assert starts in ([0, 1 << 20], [0, 2 << 20])


@pytest.mark.parametrize("cached", [True, False])
def test_an_interrupted_transfer_goes_on_where_it_was(bucket: Bucket, cached: bool) -> None:
    names = [f"{number:03}" for number in range(60)]
    bucket.put(**{name: name.encode() for name in names})
    wanted = [
        (RemoteFile(file.url, file.size, None, hashlib.sha256(name.encode()).hexdigest()), bucket.home / name)
        for name, file in zip(names, bucket.listed(), strict=True)
    ]
    bucket.proxy.trouble = lambda request: refusal("403 Forbidden") if "/050" in request.path else NONE
    with pytest.raises(StoreError, match="/050"):
        bucket.downloader(bucket.cache() if cached else None).fetch(wanted, own=True)
    bucket.proxy.trouble = lambda request: NONE
    bucket.proxy.requests.clear()

    bucket.downloader(bucket.cache() if cached else None).fetch(wanted, own=True)

    assert len(bucket.reads) <= 60 - 50 + SMALL_AT_ONCE
    assert [(bucket.home / name).read_text() for name in names] == names


def test_what_many_want_at_once_is_downloaded_once(bucket: Bucket) -> None:
    bucket.put(a=b"a" * 1000, b=b"b" * 1000)
    files = [
        RemoteFile(f"{bucket.url}/{name}", 1000, None, hashlib.sha256(name.encode() * 1000).hexdigest())
        for name in "ab"
    ]
    HashCache(bucket.home / "digests.sqlite").lookup("any", "key")
    together = threading.Barrier(6)

    def fetch(number: int) -> list[str]:
        together.wait()
        wanted = [(file, bucket.home / str(number) / file.url[-1]) for file in files]
        return bucket.downloader(bucket.cache()).fetch(wanted, own=False)

    with ThreadPoolExecutor(6) as pool:
        digests = list(pool.map(fetch, range(6)))

    assert len(bucket.reads) == 2
    assert len({tuple(found) for found in digests}) == 1
    assert [(bucket.home / str(number) / "b").read_bytes() for number in range(6)] == [b"b" * 1000] * 6


def test_the_same_file_may_be_wanted_at_several_places(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    (file,) = bucket.listed()
    places = [bucket.home / str(number) for number in range(5)]
    bucket.proxy.requests.clear()

    bucket.downloader(bucket.cache()).fetch([(file, place) for place in places], own=False)

    assert len(bucket.reads) == 1
    assert [place.read_bytes() for place in places] == [b"a"] * 5


def test_a_process_killed_in_the_middle_leaves_nothing_and_keeps_nobody_waiting(bucket: Bucket) -> None:
    under_way, killed = threading.Event(), threading.Event()

    def hold(request: Request) -> Trouble:
        if request.verb == "GET" and "range" in request.headers and not under_way.is_set():
            under_way.set()
            killed.wait(30)
        return NONE

    bucket.proxy.trouble = hold
    content = b"x" * 3_000_000
    digest = hashlib.sha256(content).hexdigest()
    bucket.put(a=content)
    program = f"""
from pathlib import Path
from airflow_mlpipe.access import Access, resolve_with
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
resolve_with(lambda url: Access(url, {bucket.options!r}))
home = Path({str(bucket.home)!r})
cache = DownloadCache(home / "downloads", 10**9)
file = RemoteFile({bucket.url!r} + "/a", {len(content)}, None, {digest!r})
Downloader(cache, RemoteDigests(HashCache(None)), Progress.silent()).fetch([(file, home / "a")], own=False)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    assert under_way.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()

    assert not (bucket.home / "a").exists()
    bucket.downloader(bucket.cache()).fetch([(bucket.listed()[0], bucket.home / "a")], own=False)
    assert (bucket.home / "a").read_bytes() == content
    bucket.cache().trim()
    assert not list((bucket.home / "downloads" / "arriving").iterdir())


def test_a_cache_that_cannot_be_written_steps_aside(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    bucket.put(a=b"a", b=b"b")
    (bucket.home / "downloads").write_text("no folder")
    wanted = [(file, bucket.home / "here" / file.url[-1]) for file in bucket.listed()]

    bucket.downloader(bucket.cache()).fetch(wanted, own=False)

    assert (bucket.home / "here" / "a").read_bytes() == b"a"
    assert (bucket.home / "here" / "b").stat().st_mode & 0o222 == 0
    assert "The download cache is not used" in caplog.text


def test_a_file_larger_than_the_cache_comes_beside_it(bucket: Bucket) -> None:
    bucket.put(a=b"12345", b=b"1")
    wanted = [(file, bucket.home / file.url[-1]) for file in bucket.listed()]

    bucket.downloader(bucket.cache(limit=4)).fetch(wanted, own=False)

    assert (bucket.home / "a").read_bytes() == b"12345"
    assert [(bucket.home / name).stat().st_nlink for name in "ab"] == [1, 2]


@pytest.mark.parametrize("cached", [True, False])
def test_the_bytes_of_a_file_are_read_once_for_its_digest(bucket: Bucket, cached: bool) -> None:
    bucket.put(a=b"a", b=b"b")
    cache = bucket.cache() if cached else None
    first = bucket.downloader(cache)
    digests = [hashlib.sha256(data).hexdigest() for data in (b"a", b"b")]
    bucket.proxy.requests.clear()

    assert first.digests(bucket.listed()) == digests
    assert first.digests(bucket.listed()) == digests
    bucket.put(b=b"c")
    assert first.digests(bucket.listed())[1] == hashlib.sha256(b"c").hexdigest()

    assert len(bucket.reads) == 3


def test_what_was_read_for_its_digest_is_here_already(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    downloader = bucket.downloader(bucket.cache())
    downloader.digests(bucket.listed())
    files = bucket.listed()
    bucket.proxy.requests.clear()

    downloader.fetch([(files[0], bucket.home / "a")], own=False)

    assert bucket.proxy.requests == []


def test_a_place_that_cannot_be_written_is_told(bucket: Bucket) -> None:
    bucket.put(a=b"a")
    (bucket.home / "file").write_text("in the way")

    with pytest.raises(StoreError, match=r"cannot be put at .*file/a"):
        bucket.downloader(bucket.cache()).fetch([(bucket.listed()[0], bucket.home / "file" / "a")], own=False)


def test_a_file_that_is_not_there_is_told(bucket: Bucket) -> None:
    gone = RemoteFile(f"{bucket.url}/gone", 3, None)

    with pytest.raises(StoreError, match="gone: it is not there"):
        bucket.downloader().fetch([(gone, bucket.home / "gone")], own=True)
