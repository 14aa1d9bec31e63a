"""The contract of a datastore, for each kind of store; then what only local ones promise."""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.synchronize
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import temporary_name
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.local_folder import LocalFolder


def test_what_is_written_is_read(datastore: Datastore) -> None:
    assert datastore.read("a/b") is None
    assert datastore.digest("a/b") is None
    assert not datastore.exists("a/b")
    datastore.write("a/b", b"one")
    datastore.write("a/b", b"hello")
    assert datastore.read("a/b") == b"hello"
    assert datastore.digest("a/b") == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert datastore.exists("a/b")


def test_a_folder_is_no_file(datastore: Datastore) -> None:
    datastore.write("a/b", b"")
    assert datastore.read("a") is None
    assert datastore.digest("a") is None
    assert not datastore.exists("a")
    assert datastore.read("a/b/c") is None
    assert not datastore.exists("a/b/c")


def test_only_the_first_creation_counts(datastore: Datastore) -> None:
    assert datastore.create("a/b", b"first")
    assert not datastore.create("a/b", b"second")
    assert datastore.read("a/b") == b"first"
    assert [file.key for file in datastore.files()] == ["a/b"]


def test_a_swap_needs_the_bytes_that_are_there(datastore: Datastore) -> None:
    assert not datastore.swap("a", b"", b"new")
    datastore.write("a", b"old")
    assert not datastore.swap("a", b"other", b"new")
    assert not datastore.swap("a", b"other", None)
    assert datastore.read("a") == b"old"
    assert datastore.swap("a", b"old", b"new")
    assert datastore.read("a") == b"new"
    assert datastore.swap("a", b"new", None)
    assert datastore.read("a") is None


def test_deleting_tells_whether_there_was_something(datastore: Datastore) -> None:
    datastore.write("a/b", b"")
    assert datastore.delete("a/b")
    assert not datastore.delete("a/b")
    assert not datastore.delete("none/at/all")


def test_a_tree_is_deleted_without_its_neighbours(datastore: Datastore) -> None:
    for key in ("a/b/c", "a/b/d/e", "a/bc", "f"):
        datastore.write(key, b"")
    datastore.delete_tree("a/b")
    datastore.delete_tree("a/b")
    assert [file.key for file in datastore.files()] == ["a/bc", "f"]
    datastore.delete_tree("f")
    assert [file.key for file in datastore.files()] == ["a/bc"]


def test_files_are_listed_by_key_with_their_sizes(datastore: Datastore) -> None:
    for key in ("a/b/c", "a/b-c", "a/b.c", "a/bc", "z"):
        datastore.write(key, key.encode())
    assert [file.key for file in datastore.files("a")] == ["a/b-c", "a/b.c", "a/b/c", "a/bc"]
    assert list(datastore.files("a/b")) == [StoredFile("a/b/c", 5)]
    assert list(datastore.files("z")) == [StoredFile("z", 1)]
    assert list(datastore.files("none")) == []
    assert [file.key for file in datastore.files()][-1] == "z"


def can_be_backdated(datastore: Datastore) -> bool:
    return datastore.url.startswith(("file:", "memory:"))


def backdate(datastore: Datastore, key: str, seconds: float) -> None:
    """Make the file at *key* older, as the store sees it."""
    path = datastore.local_path(key)
    if path is not None:
        written = path.stat().st_mtime - seconds
        os.utime(path, (written, written))
        return
    name = datastore.uri(key).removeprefix("memory:/")
    MemoryFileSystem.store[name].modified -= timedelta(seconds=seconds)


def test_an_age_is_told_by_the_clock_of_the_store_and_leaves_nothing(datastore: Datastore) -> None:
    for key in ("a/b", "c"):
        assert datastore.age(key) is None
        datastore.write(key, b"1")
        age = datastore.age(key)
        assert age is not None
        assert 0 <= age < 30
        for seconds in (100.0, -500.0) if can_be_backdated(datastore) else ():
            backdate(datastore, key, seconds)
            later = datastore.age(key)
            assert later is not None
            assert 0 <= later - seconds < 30
            backdate(datastore, key, -seconds)
    assert datastore.age("a") is None
    assert [file.key for file in datastore.files()] == ["a/b", "c"]
    folder = datastore.local_path("a")
    assert folder is None or [path.name for path in folder.iterdir()] == ["b"]


def test_a_driver_that_tells_no_times_knows_no_ages() -> None:
    class Timeless(MemoryFileSystem):  # type: ignore[misc]
        protocol = "timeless"

        def modified(self, path: str) -> datetime:
            raise NotImplementedError

    fsspec.register_implementation("timeless", Timeless, clobber=True)
    store = Datastore.open("timeless://x")
    store.write("a/b", b"")
    assert store.age("a/b") is None
    assert [file.key for file in store.files()] == ["a/b"]
    store.delete("a/b")


def test_a_probe_that_a_killed_process_left_is_no_file_of_the_store(datastore: Datastore) -> None:
    datastore.write(f"a/{temporary_name()}", b"")
    datastore.write("a/b", b"")
    assert [file.key for file in datastore.files()] == ["a/b"]


def test_an_address_and_its_key_belong_together(datastore: Datastore) -> None:
    key = "a/b c/100%#?.txt"
    assert datastore.uri(key) == f"{datastore.url}/{key}"
    assert datastore.key_of(datastore.uri(key)) == key


@pytest.mark.parametrize(
    "uri", ["s3://other/a", "{url}", "{url}x/a", "{url}/../a", "{url}//a", "/elsewhere/a"]
)
def test_an_address_outside_is_refused(datastore: Datastore, uri: str) -> None:
    with pytest.raises(StoreError):
        datastore.key_of(uri.format(url=datastore.url))


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a//b", "a\\b"])
def test_every_operation_checks_its_key(datastore: Datastore, tmp_path: Path, key: str) -> None:
    for operation in (
        datastore.uri,
        datastore.local_path,
        datastore.read,
        datastore.delete,
        datastore.delete_tree,
        datastore.exists,
        datastore.digest,
        lambda key: datastore.write(key, b""),
        lambda key: datastore.create(key, b""),
        lambda key: datastore.swap(key, b"", b""),
        lambda key: datastore.upload(tmp_path, key),
        lambda key: datastore.download(key, tmp_path / "x"),
        lambda key: list(datastore.files(key or "/")),
    ):
        with pytest.raises(StoreError, match="rename it"):
            operation(key)


def test_a_file_travels_both_ways(datastore: Datastore, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    datastore.upload(tmp_path / "source", "a/file")
    datastore.download("a/file", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == b"x" * 3_000_000
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["copy"]


@pytest.mark.parametrize("empty", [[], ["."], ["sub/empty", "e"]])
def test_a_folder_travels_both_ways_with_its_empty_folders(
    datastore: Datastore, tmp_path: Path, empty: list[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for folder in empty:
        (source / folder).mkdir(parents=True, exist_ok=True)
    if empty != ["."]:
        (source / "a").write_bytes(b"1")
        (source / "sub").mkdir(exist_ok=True)
        (source / "sub" / "b").write_bytes(b"22")
    datastore.upload(source, "x/y")
    datastore.download("x/y", tmp_path / "copy")
    assert describe(tmp_path / "copy") == describe(source)
    expected = [] if empty == ["."] else [StoredFile("x/y/a", 1), StoredFile("x/y/sub/b", 2)]
    assert list(datastore.files("x")) == expected


def test_an_upload_takes_the_place_of_what_was_there(datastore: Datastore, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "stale").write_text("1")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "fresh").write_text("2")
    for source in ("old", "new", "new/fresh", "new"):
        datastore.upload(tmp_path / source, "a")
    assert [file.key for file in datastore.files()] == ["a/fresh"]


def test_a_download_never_mixes_with_files_that_are_there(datastore: Datastore, tmp_path: Path) -> None:
    datastore.write("a/b", b"1")
    (tmp_path / "copy").mkdir()
    datastore.download("a", tmp_path / "copy")
    with pytest.raises(StoreError, match="cannot download"):
        datastore.download("a", tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["b"]


def test_a_transfer_of_nothing_is_an_error_and_leaves_nothing(datastore: Datastore, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    with pytest.raises(StoreError, match="none"):
        datastore.download("none", tmp_path / "place" / "copy")
    with pytest.raises(StoreError, match="nowhere"):
        datastore.upload(tmp_path / "nowhere", "a")
    assert list((tmp_path / "place").iterdir()) == []
    assert list(datastore.files()) == []


def test_threads_that_create_one_key_have_one_winner(datastore: Datastore) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def create(number: int) -> None:
        start.wait()
        if datastore.create("a", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert datastore.read("a") == f"{won[0]}".encode()


def test_urls_are_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (f"{tmp_path}", f"file://{tmp_path}/", f"local://{tmp_path}", f"{tmp_path}/x/..//"):
        assert Datastore.open(url).url == f"file://{tmp_path}"
    assert Datastore.open("memory://a/b/").url == "memory://a/b"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Datastore.open("~/store").url == f"file://{tmp_path}/store"


@pytest.mark.parametrize("url", ["store", "file://store", "", "./x"])
def test_a_relative_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="not an absolute path"):
        Datastore.open(url)


@pytest.mark.parametrize("url", ["s3://", "memory:///", "nonsense://"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=f"{url}' names no place; write {url.split(':')[0]}://bucket/prefix"):
        Datastore.open(url)


def test_an_unknown_protocol_is_an_error_of_the_store() -> None:
    with pytest.raises(StoreError, match="cannot open nonsense://x"):
        Datastore.open("nonsense://x")


def test_only_a_local_store_has_local_paths(datastore: Datastore, tmp_path: Path) -> None:
    expected = tmp_path / "store" / "a" if datastore.url.startswith("file:") else None
    assert datastore.local_path("a") == expected


def test_a_local_store_needs_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from airflow_mlpipe.store import sealing, lease, journal, hash_cache, snapshot;"
        f"from airflow_mlpipe.store.datastore import Datastore; s = Datastore.open({str(tmp_path)!r});"
        "s.write('a', b''); list(s.files()); print('fsspec' in sys.modules, 'airflow' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


def test_a_failing_disk_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Datastore.open(f"{tmp_path}/file")
    with pytest.raises(StoreError, match=r"cannot write .*/file/a.*check that the disk is mounted"):
        store.write("a", b"")
    store, too_long = Datastore.open(str(tmp_path)), "x" * 300
    for operation in (store.read, store.exists, store.digest, store.delete, store.delete_tree):
        with pytest.raises(StoreError, match="File name too long"):
            operation(too_long)


def test_uploading_a_file_onto_itself_does_nothing(local: Datastore) -> None:
    local.write("a/b", b"1")
    for key in ("a", "a/b"):
        path = local.local_path(key)
        assert path is not None
        local.upload(path, key)
    assert local.read("a/b") == b"1"


def test_a_local_copy_keeps_executable_bits_and_can_be_written(local: Datastore, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    (tmp_path / "run").chmod(0o555)
    local.upload(tmp_path / "run", "run")
    local.download("run", tmp_path / "copy")
    assert os.access(tmp_path / "copy", os.X_OK)
    assert (tmp_path / "copy").stat().st_mode & 0o200


def test_links_that_lead_out_of_a_folder_are_not_its_files(local: Datastore, tmp_path: Path) -> None:
    local.write("a/b", b"1")
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "store" / "a"
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "dangling").symlink_to("none")
    (folder / "inside").symlink_to("b")
    (tmp_path / "store" / "linked").symlink_to(tmp_path / "secret")
    assert [file.key for file in local.files("a")] == ["a/b", "a/inside"]
    assert list(local.files("linked")) == []


@pytest.mark.parametrize("link", [os.link, None])
def test_creation_is_exclusive_with_and_without_hard_links(tmp_path: Path, link: object) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    store = Datastore(LocalFolder(tmp_path, link=os.link if link else refuse))
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"


def _create(url: str, number: int, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait()
    raise SystemExit(Datastore.open(url).create("deep/down/key", f"{number}".encode() * 100_000))


def test_of_eight_processes_that_create_one_key_exactly_one_wins(local: Datastore) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(8)
    processes = [context.Process(target=_create, args=(local.url, number, start)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    winners = [number for number, process in enumerate(processes) if process.exitcode]
    assert len(winners) == 1
    assert local.read("deep/down/key") == f"{winners[0]}".encode() * 100_000


def _count_up(url: str, times: int, start: multiprocessing.synchronize.Barrier) -> None:
    store = Datastore.open(url)
    start.wait()
    for _ in range(times):
        while True:
            before = store.read("counter") or b""
            if store.swap("counter", before, b"%d" % (int(before) + 1)):
                break


def test_swaps_of_several_processes_lose_nothing(local: Datastore) -> None:
    local.write("counter", b"0")
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=_count_up, args=(local.url, 25, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert local.read("counter") == b"100"


_WRITER = """
import sys
from airflow_mlpipe.store.datastore import Datastore
store = Datastore.open(sys.argv[1])
number = 0
while True:
    store.write("key", bytes([number % 256]) * 5_000_000)
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_a_writer_that_is_killed_leaves_no_partial_file(local: Datastore, writes: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, local.url], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(writes):
        writer.stdout.readline()
    writer.kill()
    writer.communicate()
    data = local.read("key")
    assert data is not None
    assert len(data) == 5_000_000
    assert len(set(data)) == 1
    assert [file.key for file in local.files()] == ["key"]
