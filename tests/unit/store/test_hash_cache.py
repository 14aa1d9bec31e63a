from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import hash_cache, progress
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.hash_cache import HashCache

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

    def count(path: Path, read: Callable[[int], None]) -> str:
        paths.append(path)
        return sha256_file(path, read)

    monkeypatch.setattr(hash_cache, "sha256_file", count)
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


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = iter([b"second version"])

    def change_after_reading(path: Path, read: Callable[[int], None]) -> str:
        digest = sha256_file(path, read)
        for data in changes:
            path.write_bytes(data)
            break
        return digest

    monkeypatch.setattr(hash_cache, "sha256_file", change_after_reading)
    digest = HashCache(tmp_path / "hashes.sqlite", Later(file)).file_digest(file)
    assert digest == hashlib.sha256(b"second version").hexdigest()


def test_a_file_that_never_rests_is_an_error(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow_after_reading(path: Path, read: Callable[[int], None]) -> str:
        path.write_bytes(path.read_bytes() + b".")
        return "digest"

    monkeypatch.setattr(hash_cache, "sha256_file", grow_after_reading)
    with pytest.raises(StoreError, match="changes while it is read"):
        HashCache(tmp_path / "hashes.sqlite", Later(file)).file_digest(file)


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
    if not cache._usable:
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
