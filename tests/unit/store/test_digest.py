from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import progress
from airflow_mlpipe.store.digest import Content, DirectoryDigest, Entry, sha256_file
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe, describe_files
from airflow_mlpipe.store.tree import read_tree

names = st.sampled_from(["a", "b", "ab", "a.b", "a-b", "a!", "a0", "ü", "\U0001f600"])
leaves = st.tuples(st.binary(max_size=2), st.booleans())
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=3), lambda t: st.dictionaries(names, leaves | t, max_size=3)
)


def make(root: Path, tree: dict[str, Any]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, node in tree.items():
        if isinstance(node, dict):
            make(root / name, node)
        else:
            data, executable = node
            (root / name).write_bytes(data)
            (root / name).chmod(0o755 if executable else 0o644)
    return root


def entries(path: Path, **options: Any) -> list[Entry]:
    found: list[Entry] = []
    describe(path, keep=found.append, **options)
    return found


def digest_by_definition(root: Path) -> str:
    """As the documentation of the digest says it, with everything in memory."""
    records = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file():
            kind = b"X" if os.access(path, os.X_OK) and path.stat().st_mode & 0o100 else b"F"
            records[name] = (kind, hashlib.sha256(path.read_bytes()).digest())
        elif not any(path.iterdir()):
            records[name] = (b"D", b"")
    encoded = b"mlpipe directory 1\n"
    for name, (kind, content) in sorted(records.items()):
        encoded += kind + len(name.encode()).to_bytes(8, "big") + name.encode() + content
    return hashlib.sha256(encoded).hexdigest()


def test_the_digest_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    assert describe(tmp_path / "a") == Content("file", hashlib.sha256(b"hello").hexdigest(), 5)


def test_a_file_of_several_blocks_is_read_to_its_end(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 1) * 3
    (tmp_path / "a").write_bytes(data)
    read: list[int] = []
    assert sha256_file(tmp_path / "a", read.append) == hashlib.sha256(data).hexdigest()
    assert sum(read) == len(data)


def test_the_digest_of_a_directory_is_pinned(tmp_path: Path) -> None:
    make(
        tmp_path, {"a": (b"1", False), "run": (b"2", True), "sub": {"b": (b"", False)}, "empty": {"deep": {}}}
    )
    assert describe(tmp_path) == Content(
        "directory", "5ecdefb9f39ae9a3308fccd44538c87b78e73e916553033d5a6c277790e22863", 2
    )
    assert entries(tmp_path) == [
        Entry("a", 1, hashlib.sha256(b"1").hexdigest(), False),
        Entry("run", 1, hashlib.sha256(b"2").hexdigest(), True),
        Entry("sub/b", 0, hashlib.sha256(b"").hexdigest(), False),
    ]


def test_the_digests_of_nothing_are_pinned(tmp_path: Path) -> None:
    missing = describe(tmp_path / "none")
    assert missing == Content(
        "missing", "b250f24eeb173409f38bb13adf10bf6e0337922c64f8b208b9b36fbfaa4a9a7a", 0
    )
    assert describe(tmp_path / "none" / "below") == missing
    assert describe(tmp_path).digest == "36140851be79e3404dcb85260f0a9eceee22d95aaf03a244d351e5ba65c3d531"


@settings(max_examples=60)
@given(trees, st.data())
def test_the_digest_of_a_tree_is_that_of_its_definition(tree: dict[str, Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder, "tree"), tree)
        for number, target in enumerate(
            data.draw(st.lists(st.sampled_from([root, *root.rglob("*")]), max_size=2))
        ):
            if target != root:
                (root / f"a-link{number}").symlink_to(target)
        assert describe(root, threads=3).digest == digest_by_definition(linkless(root, Path(folder, "plain")))


def linkless(root: Path, destination: Path) -> Path:
    """A copy with what links lead to in their place."""
    destination.mkdir()
    for path in root.iterdir():
        if path.is_dir():
            linkless(path, destination / path.name)
        else:
            (destination / path.name).write_bytes(path.read_bytes())
            (destination / path.name).chmod(path.stat().st_mode)
    return destination


@settings(max_examples=40)
@given(trees, trees)
def test_two_trees_have_one_digest_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = describe(make(Path(folder, "1"), one)), describe(make(Path(folder, "2"), other))
    assert (first.digest == second.digest) == (one == other)


def test_paths_out_of_order_are_refused() -> None:
    digest = DirectoryDigest()
    digest.add_file("b", "00" * 32, executable=False)
    for path in ("b", "a"):
        with pytest.raises(StoreError, match=f"{path} came or went while its folder was read"):
            digest.add_empty_folder(path)


def test_place_times_and_order_of_creation_do_not_count(tmp_path: Path) -> None:
    make(tmp_path / "x", {"a": (b"1", False), "b": {"c": (b"2", False)}})
    make(tmp_path / "y" / "z", {"b": {"c": (b"2", False)}, "a": (b"1", False)})
    os.utime(tmp_path / "x" / "a", (1, 1))
    assert describe(tmp_path / "x") == describe(tmp_path / "y" / "z")


def test_the_executable_bit_counts_inside_a_directory_only(tmp_path: Path) -> None:
    make(tmp_path, {"a": (b"1", False)})
    directory, file = describe(tmp_path), describe(tmp_path / "a")
    (tmp_path / "a").chmod(0o755)
    assert describe(tmp_path) != directory
    assert describe(tmp_path / "a") == file


def test_a_link_inside_the_tree_counts_as_what_it_names(tmp_path: Path) -> None:
    make(
        tmp_path / "plain",
        {"a": (b"1", False), "b": (b"1", False), "d": {"c": (b"2", False)}, "e": {"c": (b"2", False)}},
    )
    make(tmp_path / "linked", {"a": (b"1", False), "d": {"c": (b"2", False)}})
    (tmp_path / "linked" / "b").symlink_to("a")
    (tmp_path / "linked" / "e").symlink_to("d")
    assert describe(tmp_path / "linked") == describe(tmp_path / "plain")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("../outside", "out of"),
        ("nowhere", "does not exist"),
        (".", "a folder that it lies in"),
        ("link", "does not exist"),
    ],
)
def test_a_link_that_cannot_travel_is_refused_by_name(tmp_path: Path, target: str, problem: str) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to(target)
    with pytest.raises(StoreError, match=rf"tree/link leads to .*{problem}"):
        describe(tmp_path / "tree")


def test_a_dangling_link_is_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(StoreError, match="leads to gone, which does not exist"):
        describe(tmp_path / "link")


def test_pipes_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="pipe is neither a file nor a folder"):
        describe(tmp_path)
    with pytest.raises(StoreError, match="pipe is neither a file nor a folder"):
        describe(tmp_path / "pipe")
    (tmp_path / "pipe").unlink()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(StoreError, match="socket is neither a file nor a folder"):
            describe(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    with pytest.raises(StoreError, match="is not valid UTF-8; rename the file"):
        describe(tmp_path)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_many_files_are_described_in_order_on_any_number_of_threads(tmp_path: Path, threads: int) -> None:
    for number in range(500):
        folder = tmp_path / f"{number % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_bytes(bytes([number % 256]) * number * 100)
    found = entries(tmp_path, threads=threads)
    assert [entry.path for entry in found] == sorted(entry.path for entry in found)
    assert len(found) == 500
    assert all(entry.digest == sha256_file(tmp_path / entry.path) for entry in found)
    assert describe(tmp_path, threads=threads).digest == digest_by_definition(tmp_path)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_file_that_cannot_be_read_stops_the_rest(tmp_path: Path, threads: int) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04}").write_bytes(b"x")
    files = read_tree(tmp_path).files
    for number in (100, 105, 900):
        (tmp_path / f"{number:04}").unlink()
    running = threading.active_count()
    with pytest.raises(StoreError, match=r"cannot read .*0100: No such file or directory; check that it"):
        describe_files(tmp_path, files, HashCache(None), threads=threads)
    assert threading.active_count() == running


def test_a_file_that_cannot_be_read_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"cannot read .*a/below/it: Not a directory"):
        describe_files(
            tmp_path,
            [read_tree(tmp_path).files[0]._replace(source=f"{tmp_path}/a/below/it")],
            HashCache(None),
        )


def test_a_selection_of_files_has_the_digest_of_a_folder_of_them(tmp_path: Path) -> None:
    make(tmp_path / "all", {"a": (b"1", False), "b": (b"2", True), "c": (b"3", False)})
    make(tmp_path / "some", {"a": (b"1", False), "b": (b"2", True)})
    files = [file for file in read_tree(tmp_path / "all").files if file.path != "c"]
    assert describe_files(tmp_path / "all" / "[ab]", files, HashCache(None)) == describe(tmp_path / "some")


def test_long_work_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    make(tmp_path, {"a": (b"1" * 500, False), "b": (b"2" * 1500, False)})
    said: list[str] = []
    describe(tmp_path, None, progress.Progress("hashing raw", said.append), threads=1)
    assert said == ["hashing raw: 500 B of 2.0 kB (25 %)", "hashing raw: 2.0 kB of 2.0 kB (100 %)"]
