"""A store that fails in passing: every answer is the right one, and every effect happens once."""

from __future__ import annotations

import errno
import os
from itertools import product
from pathlib import Path

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import Folder
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.remote_folder import RemoteFolder
from tests.unit.store.faulty import FaultyFolder, Scripted, Unreliable, caused_by, lost_connection

# Up to three failures in a row, each before or after the call has had its effect.
FAILURES = [
    {(number, after) for number, after in enumerate(afters, 1)}
    for length in range(4)
    for afters in product([False, True], repeat=length)
]


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return LocalFolder(tmp_path)
    return RemoteFolder(f"memory://{tmp_path.name}", {})


def failing(place: Folder, failures: set[tuple[int, bool]]) -> Datastore:
    fault = Scripted(failures, lost_connection)
    return Datastore(FaultyFolder(place, fault), pause=lambda seconds: None)


@pytest.mark.parametrize("failures", FAILURES, ids=str)
def test_a_creation_knows_its_own_effect_when_the_answer_is_lost(
    place: Folder, failures: set[tuple[int, bool]]
) -> None:
    assert failing(place, failures).create("mine", b"mine")
    assert place.read("mine") == b"mine"
    place.write("theirs", b"theirs")
    assert not failing(place, failures).create("theirs", b"mine")
    assert place.read("theirs") == b"theirs"


@pytest.mark.parametrize("failures", FAILURES, ids=str)
@pytest.mark.parametrize("new", [b"new", None])
def test_a_swap_knows_its_own_effect_when_the_answer_is_lost(
    place: Folder, failures: set[tuple[int, bool]], new: bytes | None
) -> None:
    place.write("mine", b"old")
    assert failing(place, failures).swap("mine", b"old", new)
    assert place.read("mine") == new
    place.write("theirs", b"theirs")
    assert not failing(place, failures).swap("theirs", b"old", new)
    assert place.read("theirs") == b"theirs"


@pytest.mark.parametrize("failures", FAILURES, ids=str)
def test_what_is_read_written_and_listed_is_whole(place: Folder, failures: set[tuple[int, bool]]) -> None:
    for key in ("x/1", "x/2", "x/3"):
        failing(place, failures).write(key, key.encode())
        assert failing(place, failures).read(key) == key.encode()
    assert [file.key for file in failing(place, failures).files("x")] == ["x/1", "x/2", "x/3"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_final_failure_is_not_tried_again(tmp_path: Path, code: int) -> None:
    fault = Scripted({(1, False)}, lambda verb, key: caused_by(OSError(code, os.strerror(code)), verb, key))
    store = Datastore(FaultyFolder(LocalFolder(tmp_path), fault))
    with pytest.raises(StoreError, match=os.strerror(code)):
        store.create("a", b"")
    assert fault.calls == 1


def test_a_store_that_goes_on_failing_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read a: .*Connection reset"):
        failing(LocalFolder(tmp_path), {(number, False) for number in range(1, 7)}).read("a")


def test_a_link_whose_answer_was_lost_by_a_file_server_is_known_by_its_count(tmp_path: Path) -> None:
    def link_and_lose_the_answer(source: Path, target: Path) -> None:
        os.link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")  # what the repeated request is told

    store = Datastore(LocalFolder(tmp_path, link=link_and_lose_the_answer))
    assert store.create("a", b"mine")
    (tmp_path / "b").write_bytes(b"theirs")
    assert not Datastore(LocalFolder(tmp_path)).create("b", b"mine")


@pytest.mark.parametrize("seed", range(5))
def test_of_a_store_that_fails_one_call_in_ten_nothing_is_noticed(tmp_path: Path, seed: int) -> None:
    fault = Unreliable(seed)
    store = Datastore(FaultyFolder(LocalFolder(tmp_path), fault), pause=lambda seconds: None)
    for number in range(100):
        key, data = f"files/{number:03}", b"%d" % number
        assert store.create(key, data)
        assert not store.create(key, b"other")
        assert store.swap(key, data, data * 2)
        assert not store.swap(key, data, b"other")
        assert store.read(key) == data * 2
    assert [file.key for file in store.files("files")] == [f"files/{number:03}" for number in range(100)]
    assert fault.failures > 50
