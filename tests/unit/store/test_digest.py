from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import Content, Entry, describe, sha256_file

names = st.sampled_from(["a", "b", "ab", "a.b", "ü"])
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


def content(path: Path) -> Content:
    return describe(path, sha256_file)


def test_the_digest_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    assert content(tmp_path / "a") == Content("file", hashlib.sha256(b"hello").hexdigest(), 5)


def test_the_digest_of_a_directory_is_pinned(tmp_path: Path) -> None:
    make(
        tmp_path, {"a": (b"1", False), "run": (b"2", True), "sub": {"b": (b"", False)}, "empty": {"deep": {}}}
    )
    described = content(tmp_path)
    assert described.digest == "5ecdefb9f39ae9a3308fccd44538c87b78e73e916553033d5a6c277790e22863"
    assert described.kind == "directory"
    assert described.size == 2
    assert described.entries == (
        Entry("a", 1, hashlib.sha256(b"1").hexdigest(), False),
        Entry("run", 1, hashlib.sha256(b"2").hexdigest(), True),
        Entry("sub/b", 0, hashlib.sha256(b"").hexdigest(), False),
    )


def test_the_digests_of_nothing_are_pinned(tmp_path: Path) -> None:
    missing = content(tmp_path / "none")
    assert missing == Content(
        "missing", "b250f24eeb173409f38bb13adf10bf6e0337922c64f8b208b9b36fbfaa4a9a7a", 0
    )
    assert content(tmp_path / "none" / "below") == missing
    assert content(tmp_path).digest == "36140851be79e3404dcb85260f0a9eceee22d95aaf03a244d351e5ba65c3d531"


@settings(max_examples=60, deadline=None)
@given(trees, trees)
def test_two_trees_have_one_digest_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = content(make(Path(folder, "1"), one)), content(make(Path(folder, "2"), other))
    assert (first.digest == second.digest) == (one == other)


def test_place_times_and_order_of_creation_do_not_count(tmp_path: Path) -> None:
    make(tmp_path / "x", {"a": (b"1", False), "b": {"c": (b"2", False)}})
    make(tmp_path / "y" / "z", {"b": {"c": (b"2", False)}, "a": (b"1", False)})
    os.utime(tmp_path / "x" / "a", (1, 1))
    assert content(tmp_path / "x") == content(tmp_path / "y" / "z")


def test_the_executable_bit_counts_inside_a_directory_only(tmp_path: Path) -> None:
    make(tmp_path, {"a": (b"1", False)})
    directory, file = content(tmp_path), content(tmp_path / "a")
    (tmp_path / "a").chmod(0o755)
    assert content(tmp_path) != directory
    assert content(tmp_path / "a") == file


def test_a_link_inside_the_tree_counts_as_what_it_names(tmp_path: Path) -> None:
    make(
        tmp_path / "plain",
        {"a": (b"1", False), "b": (b"1", False), "d": {"c": (b"2", False)}, "e": {"c": (b"2", False)}},
    )
    make(tmp_path / "linked", {"a": (b"1", False), "d": {"c": (b"2", False)}})
    (tmp_path / "linked" / "b").symlink_to("a")
    (tmp_path / "linked" / "e").symlink_to("d")
    assert content(tmp_path / "linked") == content(tmp_path / "plain")


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
        content(tmp_path / "tree")


def test_a_dangling_link_is_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(StoreError, match="leads to gone, which does not exist"):
        content(tmp_path / "link")


def test_pipes_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="pipe is neither a file nor a folder"):
        content(tmp_path)
    with pytest.raises(StoreError, match="pipe is neither a file nor a folder"):
        content(tmp_path / "pipe")
    (tmp_path / "pipe").unlink()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(StoreError, match="socket is neither a file nor a folder"):
            content(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    with pytest.raises(StoreError, match="is not valid UTF-8; rename the file"):
        content(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error_of_the_store(tmp_path: Path) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a").write_text("x")
    for path in (tmp_path, tmp_path / "a"):
        with pytest.raises(StoreError, match=r"cannot read .*a: Permission denied"):
            describe(path, refuse)
