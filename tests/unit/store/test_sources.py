"""What identifies the data of a dataset, and which files it has: on disks and on servers."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_mlpipe.access import Access, as_it_is, resolve_with
from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.runtime.partition_format import PartitionFormat
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.sources import Source, SourceFinder
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.watching import look as look_at
from tests.services import ObjectStore

TREE = {"a.csv": b"a", "c.txt": b"c", "deep/b.csv": b"bb"}

Look = Callable[..., Source]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of :data:`TREE`, with an executable file and an empty folder besides."""
    folder = tmp_path / "data"
    for path, content in TREE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o755)
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Finds the source of paths, as of a DAG file in ``tmp_path``."""
    finder = SourceFinder(tmp_path, HashCache(None))

    def look(*paths: str, identity: Any = None, partition_format: str | None = None) -> Source:
        selection = None if partition_format is None else PartitionFormat.parse(partition_format)
        return finder.dataset(paths, identity, "input raw", selection)

    return look


@pytest.fixture(params=["s3", "blob"])
def bucket(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """An empty bucket, also known as the datastore "lake"."""
    store: ObjectStore = request.getfixturevalue(request.param)
    with known(lake=Access(store.url, store.options)):
        yield store


@contextmanager
def known(**datastores: Access) -> Iterator[None]:
    """These are the datastores that there are."""

    def resolve(url: str) -> Access:
        for name, access in datastores.items():
            if url.startswith(f"datastore://{name}"):
                return Access(access.url + url.removeprefix(f"datastore://{name}"), access.options)
            if url.startswith(access.url):
                return Access(url, access.options)
        return Access(url)

    resolve_with(resolve)
    try:
        yield
    finally:
        resolve_with(as_it_is)


def put(store: ObjectStore, folder: str, files: dict[str, bytes]) -> None:
    driver = store.filesystem()
    for path, content in files.items():
        driver.pipe_file(f"{store.bucket}/{folder}/{path}", content)


def paths_of(source: Source) -> list[str]:
    """The files that a step is shown, by their paths."""
    return [
        "/".join(filter(None, (place.path, file.path)))
        for place in source.places
        for file in place.files or ()
    ]


# What unchanged data had before there were remote datasets: steps are still reused for it.
GOLDEN = {
    ("data",): "f0621fcae881b93b315a89fb149073a04e8dc382c93c30ddcfd5b5d07f30fb69",
    ("data/a.csv",): "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    ("data/**/*.csv",): "594917f2715879e644c36166255122cd6259ed0deb5513b638f9d2870887ea36",
    ("data/*",): "ffefbcb271e05185e15a7bb95b2d313f582d574a5a0128857bd9ed362fc97bdf",
    ("data/a.csv", "data/deep"): "4731ab6a5abf58dd18946a2552271752fda03552bd72fbd5f48043abcbecb67e",
    ("data/*.csv", "data/deep"): "1179bff38c9aa0f5aa1eac5c764d76d67ee6a33ad673906cbc87984e124b571f",
}


@pytest.mark.parametrize(("paths", "digest"), GOLDEN.items())
def test_local_data_keeps_the_digest_that_it_always_had(
    look: Look, data: Path, paths: tuple[str, ...], digest: str
) -> None:
    assert look(*paths).digest == digest


def test_a_definition_keeps_the_digest_that_it_always_had(look: Look, data: Path) -> None:
    digest = "21d5f01659860b0106d1a0a387579906b943ebeeac1859a10886fefe937aed46"
    assert look("data", "data/c.txt", identity="definition").digest == digest


def test_etags_give_the_digest_that_they_always_gave(look: Look, s3: ObjectStore) -> None:
    put(s3, "raw", {"a.csv": b"a", "deep/b.csv": b"bb"})
    etags = {"a.csv": "0cc175b9c0f1b6a831c399e269772661", "deep/b.csv": "21ad0bd836b90d08f4cf640b4c298e7c"}
    parts = [
        [f"{s3.bucket}/raw/{path}", size, f'ETag="{etags[path]}"']
        for path, size in {"a.csv": 1, "deep/b.csv": 2}.items()
    ]
    with known(lake=Access(s3.url, s3.options)):
        source = look(f"{s3.url}/raw/")
    assert source.digest == hashlib.sha256(json.dumps(["remote", parts]).encode()).hexdigest()


def test_a_remote_folder_has_the_files_below_it_and_not_the_marks_of_tools(
    look: Look, bucket: ObjectStore
) -> None:
    put(bucket, "raw", TREE)
    put(bucket, "rawer", {"x": b"x"})
    if bucket.url.startswith("s3:"):
        put(bucket, "raw", {"": b"", "deep/": b""})
    source = look(f"{bucket.url}/raw/")
    assert (source.kind, source.size, source.undetermined) == ("directory", 4, None)
    assert (paths_of(source), source.whole) == (sorted(TREE), f"{bucket.url}/raw/")


def test_a_remote_file_is_a_file(look: Look, bucket: ObjectStore) -> None:
    put(bucket, "raw", TREE)
    source = look(f"{bucket.url}/raw/deep/b.csv")
    assert (source.kind, source.size, source.undetermined) == ("file", 2, None)
    assert (paths_of(source), source.whole) == ([""], f"{bucket.url}/raw/deep/b.csv")


@pytest.mark.parametrize("pattern", ["**/*.csv", "*", "*.csv", "**", "d*/*", "[ab].csv"])
def test_a_pattern_means_the_same_on_a_server_and_on_a_disk(
    look: Look, s3: ObjectStore, tmp_path: Path, pattern: str
) -> None:
    files = {**TREE, ".hidden.csv": b"h", "deep/.hidden/h.csv": b"h"}
    put(s3, "raw", files)
    for path, content in files.items():
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(content)
    with known(lake=Access(s3.url, s3.options)):
        remote, local = look(f"{s3.url}/raw/{pattern}"), look(f"raw/{pattern}")
    assert paths_of(remote) == [place.path for place in local.places]


def test_an_object_that_was_written_anew_is_other_data(look: Look, bucket: ObjectStore) -> None:
    put(bucket, "raw", TREE)
    before = look(f"{bucket.url}/raw")
    assert look(f"{bucket.url}/raw").digest == before.digest
    bucket.filesystem().pipe_file(f"{bucket.bucket}/raw/a.csv", b"A", overwrite=True)
    assert look(f"{bucket.url}/raw").digest != before.digest


def test_by_content_remote_data_is_the_same_as_on_a_disk(
    look: Look, bucket: ObjectStore, tmp_path: Path
) -> None:
    put(bucket, "raw", TREE)
    for path, content in TREE.items():
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(content)
    for path in ("raw", "raw/deep/b.csv", "raw/**/*.csv"):
        assert look(f"{bucket.url}/{path}", identity="content").digest == look(path).digest


class CountingProgress(Progress):
    """Counts the bytes that are done."""

    done = 0

    def advance(self, size: int) -> None:
        type(self).done += size


def test_by_content_an_object_is_read_once(s3: ObjectStore, tmp_path: Path) -> None:
    put(s3, "raw", {"a": b"aaa", "b": b"bbb"})
    database = tmp_path / "digests.sqlite"

    def read() -> int:
        CountingProgress.done = 0
        with known(lake=Access(s3.url, s3.options)), HashCache(database) as cache:
            finder = SourceFinder(tmp_path, cache, lambda what: CountingProgress(what, print))
            finder.dataset([f"{s3.url}/raw"], "content", "input raw")
        return CountingProgress.done

    assert [read(), read()] == [6, 0]
    put(s3, "raw", {"b": b"BBB"})
    assert read() == 3


def test_data_in_a_named_datastore_lies_at_its_url(look: Look, bucket: ObjectStore) -> None:
    put(bucket, "raw", TREE)
    source = look("datastore://lake/raw/")
    assert source.whole == f"{bucket.url}/raw/"
    assert source.digest == look(f"{bucket.url}/raw/").digest
    assert [path for path, _ in source.path_digests] == ["datastore://lake/raw/"]


def test_a_named_datastore_on_a_disk_is_local_data(look: Look, data: Path) -> None:
    with known(disk=Access(f"file://{data.parent}")):
        assert look("datastore://disk/data").digest == GOLDEN["data",]
        assert look("datastore://disk/data/**/*.csv").digest == GOLDEN["data/**/*.csv",]
        with pytest.raises(UserError, match="is a local path, which has no etag"):
            look("datastore://disk/data", identity="etag")


def test_places_of_several_kinds_are_one_folder(look: Look, bucket: ObjectStore, data: Path) -> None:
    put(bucket, "raw", TREE)
    source = look(f"{bucket.url}/raw", "data/deep", f"{bucket.url}/raw/c.txt")
    assert [place.path for place in source.places] == ["raw", "deep", "c.txt"]
    assert paths_of(source) == ["raw/a.csv", "raw/c.txt", "raw/deep/b.csv", "c.txt"]


def test_paths_that_would_lead_out_of_their_folder_are_refused(look: Look, data: Path) -> None:
    (data / "a.csv").rename(data.parent / "b.csv")
    with pytest.raises(UserError, match=r"two paths of one dataset end in 'b\.csv'"):
        look("data/deep/b.csv", "data/../b.csv")


def test_a_server_without_etags_identifies_nothing(look: Look) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").pipe_file(f"{url}/a.csv", b"a")
    assert look(url).undetermined == f"the server gives no etag for {url}/a.csv; use identity='content'"
    assert look(url, identity="content").undetermined is None


@pytest.mark.parametrize("path", ["raw", "raw/", "raw/*.csv"])
def test_nothing_at_a_url_is_said_with_its_name(look: Look, bucket: ObjectStore, path: str) -> None:
    with pytest.raises(UserError, match=rf"input raw: nothing is at '{bucket.url}/raw.*'; correct the URL"):
        look(f"{bucket.url}/{path}")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a//b": b""}, "'a//b' cannot be the name of something"),
        ({"a\\b": b""}, "backslashes"),
        ({"a": b"1", "a/b/c": b"2"}, "raw/a is a file, and other files lie below it"),
    ],
)
def test_names_that_no_disk_can_hold_are_refused(
    look: Look, s3: ObjectStore, files: dict[str, bytes], sentence: str
) -> None:
    put(s3, "raw", files)
    with known(lake=Access(s3.url, s3.options)), pytest.raises(StoreError, match=sentence):
        look(f"{s3.url}/raw")


def test_odd_names_are_taken_as_they_are(look: Look, s3: ObjectStore) -> None:
    names = ["a b.csv", "a#b", "a%20b", "a+b=c&d", "a;b", "é", "日本"]
    put(s3, "raw", {name: name.encode() for name in names})
    with known(lake=Access(s3.url, s3.options)):
        source = look(f"{s3.url}/raw", identity="content")
    assert paths_of(source) == sorted(names)


DATED = {"fr/2026/01/02/data.csv": b"1", "de/2026/01/02/data.csv": b"2", "de/notes.txt": b"3"}
BY_DATE = "{country}/{date:yyyy/MM/dd}/data.csv"


@pytest.fixture
def dated(s3: ObjectStore, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The same files in a bucket and on a disk, and the addresses of both folders."""
    put(s3, "raw", DATED)
    for path, content in DATED.items():
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(content)
    with known(lake=Access(s3.url, s3.options)):
        yield f"{s3.url}/raw", "raw"


def test_a_partition_format_takes_the_files_whose_paths_are_like_it(
    look: Look, dated: tuple[str, str]
) -> None:
    remote, local = (look(place, identity="content", partition_format=BY_DATE) for place in dated)
    assert paths_of(remote) == [place.path for place in local.places] == sorted(DATED)[:1] + sorted(DATED)[2:]
    assert remote.digest == local.digest
    assert (remote.whole, local.whole) == (None, None)


def test_a_partition_format_sees_the_paths_that_the_step_is_shown(look: Look, dated: tuple[str, str]) -> None:
    for place in dated:
        both = look(f"{place}/fr", f"{place}/de", partition_format=BY_DATE)
        assert len(both.places) == 2
        with pytest.raises(UserError, match=r"the step is shown, for example, '2026/01/02/data\.csv'"):
            look(f"{place}/fr", partition_format=BY_DATE)
        one = look(f"{place}/fr/2026/01/02/data.csv", partition_format="{name}.csv")
        assert one.kind == "file"
        with pytest.raises(UserError, match=r"for example, 'data\.csv'"):
            look(f"{place}/fr/2026/01/02/data.csv", partition_format=BY_DATE)


def test_a_partition_format_is_part_of_a_definition(look: Look, dated: tuple[str, str]) -> None:
    place = dated[1]
    plain = look(place, identity="definition").digest
    parted = look(place, identity="definition", partition_format=BY_DATE).digest
    assert len({plain, parted, look(place, identity="definition", partition_format="{a}.txt").digest}) == 3


def test_the_mark_of_an_empty_folder_of_ours_is_no_data(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4()}"
    fsspec.filesystem("memory").pipe({f"{root}/raw/a.csv": b"a", f"{root}/raw/none/.mlpipe-empty": b""})
    source = SourceFinder(tmp_path, HashCache(None)).dataset([f"{root}/raw"], "content", "input raw")
    assert source.places[0].files is not None
    assert [file.path for file in source.places[0].files] == ["a.csv"]
    assert [*look_at(f"{root}/raw").stamps] == ["a.csv"]


class Web(http.server.BaseHTTPRequestHandler):
    """Files by path; of "/tagged.csv" there are etags, and "/broken" is out of order."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/broken":
            self.send_error(500)
        elif path not in ("/tagged.csv", "/dated.csv"):
            self.send_error(404)
        else:
            content = f"content of {query}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            name = "ETag" if path == "/tagged.csv" else "Last-Modified"
            self.send_header(name, '"first"' if name == "ETag" else "Sun, 01 Mar 2026 12:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_web_address_with_a_query_is_one_file_called_without_it(look: Look, web: str) -> None:
    source = look(f"{web}/tagged.csv?year=2026&key=secret")
    assert (source.kind, source.size, source.undetermined) == ("file", 31, None)
    assert source.whole == f"{web}/tagged.csv?year=2026&key=secret"
    both = look(f"{web}/tagged.csv?year=2026", f"{web}/dated.csv?year=2026")
    assert [place.path for place in both.places] == ["tagged.csv", "dated.csv"]


def test_nothing_at_a_web_address_is_said_without_its_query(look: Look, web: str) -> None:
    with pytest.raises(UserError, match=f"nothing is at '{web}/nil.csv'; correct") as refused:
        look(f"{web}/nil.csv?key=secret")
    assert "secret" not in str(refused.value)


def test_a_web_server_that_is_out_of_order_is_not_taken_for_no_data(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlpipe.store.transient.PAUSES", ())
    with pytest.raises(StoreError, match="cannot be listed") as refused:
        SourceFinder(tmp_path, HashCache(None)).dataset([f"{web}/broken?key=secret"], None, "input raw")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("broken", None), ("tagged.csv", None), ("tagged.csv", hashlib.sha256().hexdigest())],
)
def test_what_a_web_server_refuses_to_give_is_said_without_its_query(
    tmp_path: Path, web: str, path: str, expected: str | None
) -> None:
    file = RemoteFile(f"{web}/{path}?key=secret", 21 if expected else 5, None, expected)
    downloader = Downloader(
        None, RemoteDigests(HashCache(None)), Progress.silent(), pause=lambda seconds: None
    )
    with pytest.raises(StoreError, match=f"{web}/{path}") as refused:
        downloader.fetch([(file, tmp_path / "file")], own=True)
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "file").exists()


def test_a_time_of_change_identifies_data_once_it_is_some_seconds_old(tmp_path: Path, web: str) -> None:
    changed_at = datetime(2026, 3, 1, 12, tzinfo=timezone.utc).timestamp()
    now = changed_at + 1
    finder = SourceFinder(tmp_path, HashCache(None), clock=lambda: now)
    young = finder.dataset([f"{web}/dated.csv"], None, "input raw")
    assert young.undetermined is not None
    assert "was changed, and that is a moment ago" in young.undetermined
    now += 60
    settled = finder.dataset([f"{web}/dated.csv"], None, "input raw")
    assert (settled.undetermined, settled.digest) == (None, young.digest)
