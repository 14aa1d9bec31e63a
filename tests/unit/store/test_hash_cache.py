from __future__ import annotations

import hashlib
import itertools
import logging
import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import hash_cache, hashing, progress
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.hash_cache import HashCache, digest_at_rest
from airflow_mlpipe.store.hashing import describe

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


class Later:
    """The clock of the files themselves, set some nanoseconds ahead."""

    def __init__(self, path: Path, ahead: int = 10 * SECOND) -> None:
        self._path = path
        self.ahead = ahead

    def __call__(self) -> int:
        return self._path.stat().st_ctime_ns + self.ahead


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"hello")
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were really read."""
    paths: list[Path] = []

    def count(path: str | Path, *details: Any) -> tuple[str, os.stat_result]:
        paths.append(Path(path))
        return digest_at_rest(path, *details)

    monkeypatch.setattr(hash_cache, "digest_at_rest", count)
    monkeypatch.setattr(hashing, "digest_at_rest", count)
    return paths


def test_an_unchanged_file_is_read_once(tmp_path: Path, file: Path, hashed: list[Path]) -> None:
    for _ in range(3):
        with HashCache(tmp_path / "cache" / "hashes.sqlite", Later(file)) as cache:
            assert cache.file_digest(file) == hashlib.sha256(b"hello").hexdigest()
    assert hashed == [file]


def test_a_change_that_keeps_size_and_mtime_is_seen(tmp_path: Path, file: Path) -> None:
    cache = HashCache(tmp_path / "hashes.sqlite", Later(file))
    cache.file_digest(file)
    before = file.stat()
    replacement = tmp_path / "replacement"
    replacement.write_bytes(b"HELLO")
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.replace(file)
    assert cache.file_digest(file) == hashlib.sha256(b"HELLO").hexdigest()


@pytest.mark.parametrize(("age", "reads"), [(2 * SECOND - 1, 2), (2 * SECOND, 1), (-SECOND, 2)])
def test_a_file_younger_than_two_seconds_is_not_trusted(
    tmp_path: Path, file: Path, hashed: list[Path], age: int, reads: int
) -> None:
    cache = HashCache(tmp_path / "hashes.sqlite", Later(file, age))
    cache.file_digest(file)
    cache.file_digest(file)
    assert len(hashed) == reads


def test_a_file_that_changes_while_it_is_read_is_read_again(file: Path) -> None:
    changes = iter([b"second version"])

    def change(size: int) -> None:
        for data in changes:
            file.write_bytes(data)
            break

    digest, status = digest_at_rest(file, file.stat(), change)
    assert digest == hashlib.sha256(b"second version").hexdigest()
    assert status.st_size == len(b"second version")


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, file: Path) -> None:
    replacements = iter([b"HELLO"])

    def replace(size: int) -> None:
        for data in replacements:
            (tmp_path / "new").write_bytes(data)
            os.utime(tmp_path / "new", ns=(0, file.stat().st_mtime_ns))
            (tmp_path / "new").replace(file)

    digest, _ = digest_at_rest(file, file.stat(), replace)
    assert digest == hashlib.sha256(b"HELLO").hexdigest()


def test_a_file_that_never_rests_is_an_error(file: Path) -> None:
    moments = itertools.count()

    def touch(size: int) -> None:
        os.utime(file, ns=(0, next(moments)))

    with pytest.raises(StoreError, match="changes while it is read"):
        digest_at_rest(file, file.stat(), touch)


def test_a_missing_file_raises_as_the_disk_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HashCache(None).file_digest(tmp_path / "none")


def test_a_corrupt_database_is_logged_once_and_hashed_around(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hashes.sqlite").write_bytes(b"this is no database" * 500)
    with caplog.at_level(logging.WARNING), HashCache(tmp_path / "hashes.sqlite", Later(file)) as cache:
        for _ in range(3):
            assert cache.file_digest(file) == hashlib.sha256(b"hello").hexdigest()
        assert cache.lookup("syntax", "a") is None
        cache.remember("syntax", "a", "b")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "hashes.sqlite cannot be used" in caplog.text


def test_a_database_that_cannot_be_made_is_hashed_around(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), HashCache(file / "hashes.sqlite") as cache:
        assert cache.file_digest(file) == hashlib.sha256(b"hello").hexdigest()
    assert len(caplog.records) == 1


def test_without_a_path_things_are_remembered_for_the_life_of_the_object(
    file: Path, hashed: list[Path]
) -> None:
    cache = HashCache(None, Later(file))
    for _ in range(2):
        cache.file_digest(file)
        cache.close()
    assert hashed == [file]


def test_facts_of_different_kinds_do_not_meet(tmp_path: Path) -> None:
    with HashCache(tmp_path / "hashes.sqlite") as cache:
        cache.remember("syntax", "a", "1")
        cache.remember("imports", "a", "2")
    with HashCache(tmp_path / "hashes.sqlite") as cache:
        assert cache.lookup("syntax", "a") == "1"
        assert cache.lookup("imports", "a") == "2"
        assert cache.lookup("file", "a") is None
        assert cache.lookup("syntax", "b") is None


def test_what_was_not_used_for_sixty_days_is_forgotten(tmp_path: Path) -> None:
    now = 1_000 * DAY
    database = tmp_path / "hashes.sqlite"

    def cache() -> HashCache:
        return HashCache(database, lambda: now)

    with cache() as first:
        first.remember("syntax", "used", "1")
        first.remember("syntax", "unused", "1")
    now += 40 * DAY
    with cache() as second:
        assert second.lookup("syntax", "used") == "1"
    now += 40 * DAY
    with cache() as third:
        third.remember("syntax", "other", "1")
    with sqlite3.connect(database) as connection:
        kept = {
            bytes(key) for (key,) in connection.execute("SELECT key FROM facts WHERE kind = 'fact:syntax'")
        }
    assert kept == {b"used", b"other"}


def _hash_all(database: Path, folder: Path, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait()
    ahead = 4_000_000_000 * SECOND
    with HashCache(database, lambda: ahead) as cache:
        for path in sorted(folder.iterdir()):
            cache.file_digest(path)
    if not cache._facts._usable:
        raise SystemExit("the cache gave up")


def test_many_processes_share_one_database(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number}").write_text(str(number))
    context = multiprocessing.get_context("fork")
    start = context.Barrier(8)
    processes = [
        context.Process(target=_hash_all, args=(tmp_path / "hashes.sqlite", folder, start)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    with sqlite3.connect(tmp_path / "hashes.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM facts WHERE kind = 'file'").fetchone() == (50,)


def test_a_file_that_takes_long_says_how_far_it_is(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    file.write_bytes(b"x" * 2000)
    said: list[str] = []
    HashCache(None, say=said.append).file_digest(file)
    assert said == [f"hashing {file.name}: 2.0 kB of 2.0 kB (100 %)"]


class Trees:
    """A folder of a few hundred files in three folders, and a cache whose clock is set ahead of them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self.database = folder / "digests.sqlite"
        self.ahead = 10 * SECOND
        for number in range(600):
            (self.root / f"{number % 3}").mkdir(parents=True, exist_ok=True)
            (self.root / f"{number % 3}" / f"{number:03}").write_bytes(str(number).encode())
        (self.root / "empty").mkdir()

    def clock(self) -> int:
        return max(path.stat().st_ctime_ns for path in self.root.rglob("*")) + self.ahead

    def describe(self) -> Content:
        now = self.clock()
        with HashCache(self.database, lambda: now) as cache:
            return describe(self.root, cache)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def edit(root: Path) -> None:
    (root / "1" / "100").write_bytes(b"xyz")


def edit_and_set_back_the_time(root: Path) -> None:
    before = (root / "1" / "100").stat()
    edit(root)
    os.utime(root / "1" / "100", ns=(before.st_atime_ns, before.st_mtime_ns))


def add(root: Path) -> None:
    (root / "1" / "100a").write_bytes(b"xyz")


def remove(root: Path) -> None:
    (root / "1" / "100").unlink()


def rename(root: Path) -> None:
    (root / "1" / "100").rename(root / "1" / "0")


def exchange(root: Path) -> None:
    (root / "1" / "100").rename(root / "aside")
    (root / "1" / "103").rename(root / "1" / "100")
    (root / "aside").rename(root / "1" / "103")


def make_executable(root: Path) -> None:
    (root / "1" / "100").chmod(0o755)


def fill_the_empty_folder(root: Path) -> None:
    (root / "empty" / "0").mkdir()


def remove_the_empty_folder(root: Path) -> None:
    (root / "empty").rmdir()


def test_an_unchanged_tree_is_read_once(trees: Trees, hashed: list[Path]) -> None:
    content = trees.describe()
    assert len(hashed) == 600
    assert trees.describe() == content
    assert len(hashed) == 600


@pytest.mark.parametrize(
    "change",
    [
        edit,
        edit_and_set_back_the_time,
        add,
        remove,
        rename,
        exchange,
        make_executable,
        fill_the_empty_folder,
        remove_the_empty_folder,
    ],
)
def test_a_change_anywhere_in_a_remembered_tree_is_seen(
    trees: Trees, hashed: list[Path], change: Callable[[Path], None]
) -> None:
    before = trees.describe()
    hashed.clear()
    change(trees.root)
    after = trees.describe()
    assert after != before
    assert after == describe(trees.root)
    assert trees.describe() == after


@pytest.mark.parametrize(
    ("change", "read"), [(edit, 1), (add, 1), (remove, 0), (rename, 1), (make_executable, 1), (exchange, 2)]
)
def test_only_what_changed_is_read_again(
    trees: Trees, hashed: list[Path], change: Callable[[Path], None], read: int
) -> None:
    trees.describe()
    hashed.clear()
    change(trees.root)
    trees.describe()
    assert len(hashed) == read
    trees.describe()
    assert len(hashed) == read


@pytest.mark.parametrize(("age", "read"), [(2 * SECOND - 1, 1), (2 * SECOND, 0)])
def test_of_a_tree_with_one_young_file_all_the_others_are_remembered(
    trees: Trees, hashed: list[Path], age: int, read: int
) -> None:
    others = trees.clock() - trees.ahead
    young = trees.root / "1" / "100"
    while young.stat().st_ctime_ns <= others:  # the clock of files ticks a few hundred times a second
        young.chmod(0o600)
    trees.ahead = age
    trees.describe()
    hashed.clear()
    trees.describe()
    assert hashed == [young] * read


def test_a_file_that_changes_after_it_was_read_is_not_remembered_wrongly(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = trees.root / "1" / "100"

    def change_after_reading(path: str | Path, *details: Any) -> tuple[str, os.stat_result]:
        digest = digest_at_rest(path, *details)
        if Path(path) == changed:
            changed.write_bytes(b"xyz")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(hashing, "digest_at_rest", change_after_reading)
        trees.describe()
    assert trees.describe() == describe(trees.root)


def test_the_files_of_a_tree_that_is_used_are_not_forgotten(trees: Trees, hashed: list[Path]) -> None:
    for days in (0, 40, 80):
        trees.ahead = days * DAY + 10 * SECOND
        trees.describe()
        with HashCache(trees.database, trees.clock) as cache:
            cache.remember("syntax", "other", "1")
    assert len(hashed) == 600
    edit(trees.root)
    trees.describe()
    assert len(hashed) == 601


def test_two_places_do_not_meet(trees: Trees, hashed: list[Path]) -> None:
    with HashCache(trees.database, trees.clock) as cache:
        contents = [describe(trees.root / name, cache) for name in ("0", "1")]
        assert [describe(trees.root / name, cache) for name in ("0", "1")] == contents
        assert describe(trees.root, cache) == describe(trees.root)
    assert contents == [describe(trees.root / name) for name in ("0", "1")]


def test_a_tree_is_hashed_around_a_corrupt_database(trees: Trees, caplog: pytest.LogCaptureFixture) -> None:
    trees.database.write_bytes(b"this is no database" * 500)
    with caplog.at_level(logging.WARNING):
        assert trees.describe() == describe(trees.root)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_states_differ_even_in_times_that_no_clock_shows(file: Path) -> None:
    far = 2**63  # nanoseconds: the year 2262
    fields = list(file.stat())
    now, later, before = (
        hash_cache.stamp_of(os.stat_result(fields, {"st_mtime_ns": moment, "st_ctime_ns": 0}))
        for moment in (0, far, -1)
    )
    assert len({now, later, before}) == 3
