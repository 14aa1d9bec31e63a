from __future__ import annotations

import inspect
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import EmptyFolder, TreeFile, copy, read_tree, tree_size, walk

# Characters before and after "/", so that files and folders with a common beginning come in every order.
names = (
    st.text("a!-./0z\u00fc\U0001f600", min_size=1, max_size=3)
    .map(lambda name: name.replace("/", "_"))
    .filter(lambda name: name not in (".", ".."))
)
trees = st.recursive(
    st.dictionaries(names, st.binary(max_size=2), max_size=4),
    lambda children: st.dictionaries(names, st.binary(max_size=2) | children, max_size=4),
    max_leaves=20,
)


def make(root: Path, tree: dict[str, Any]) -> Path:
    root.mkdir(parents=True)
    for name, node in tree.items():
        if isinstance(node, dict):
            make(root / name, node)
        else:
            (root / name).write_bytes(node)
    return root


def paths(root: Path, **options: Any) -> list[str]:
    return [leaf.path for leaf in walk(root, **options)]


@settings(max_examples=60)
@given(trees)
def test_leaves_come_in_the_order_of_their_paths(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder, "tree"), tree)
        files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        empty = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_dir() and not any(path.iterdir())
        }
        found = list(walk(root))
    assert [leaf.path for leaf in found] == sorted(files | empty)
    assert {leaf.path for leaf in found if isinstance(leaf, EmptyFolder)} == empty


def test_an_empty_folder_comes_before_and_a_full_one_after_names_that_continue_theirs(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a": {}, "a-b": b"", "c": {"d": b""}, "c-d": b"", "c0": b""})
    assert paths(tmp_path / "tree") == ["a", "a-b", "c-d", "c/d", "c0"]


def test_a_tree_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(150):
        folder /= "d"
    folder.mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        assert paths(tmp_path) == ["/".join("d" * 150)]
    finally:
        sys.setrecursionlimit(limit)


def test_status_and_place_of_a_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"123")
    (tmp_path / "run").chmod(0o755)
    (file,) = walk(tmp_path)
    assert isinstance(file, TreeFile)
    assert (file.source, file.size, file.executable) == (str(tmp_path / "run"), 3, True)


def test_the_size_of_a_tree_is_that_of_its_files(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a": b"1", "b": {"c": b"23", "empty": {}}})
    assert tree_size(tmp_path / "tree") == 3
    assert tree_size(tmp_path / "none") == 0


def test_what_is_refused_can_be_left_out(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a": b"1", "z": b"2", "inner": {"b": b"3"}})
    (tmp_path / "tree" / "out").symlink_to(tmp_path)
    (tmp_path / "tree" / "nowhere").symlink_to("gone")
    (tmp_path / "tree" / "circle").symlink_to("circle")
    (tmp_path / "tree" / "inner" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "tree" / "pipe")
    refused: list[StoreError] = []
    assert paths(tmp_path / "tree", refuse=refused.append) == ["a", "inner/b", "z"]
    assert len(refused) == 5


def test_names_that_are_skipped_are_not_looked_into(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a": b"1", "skip": {"b": b"2"}, "c": {"skip": b"3", "d": b"4"}})
    assert paths(tmp_path / "tree", skip=lambda name: name == "skip") == ["a", "c/d"]


def test_what_vanishes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a": b"1", "b": b"2", "c": {"d": b"3"}, "e": b"4"})
    leaves = walk(tmp_path / "tree")
    next(leaves)
    (tmp_path / "tree" / "b").unlink()
    with pytest.raises(StoreError, match="tree/b vanished while it was read"):
        next(leaves)
    leaves = walk(tmp_path / "tree", refuse=lambda refusal: None)
    next(leaves)
    (tmp_path / "tree" / "c" / "d").unlink()
    (tmp_path / "tree" / "c").rmdir()
    assert [leaf.path for leaf in leaves] == ["e"]


def test_a_folder_that_is_not_there_is_an_error_even_when_refusals_are_ignored(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*none: No such file or directory"):
        paths(tmp_path / "none", refuse=lambda refusal: None)


@settings(max_examples=25)
@given(trees)
def test_a_copy_has_the_same_tree(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder, "tree"), tree)
        copy(root, Path(folder, "copy"), Progress.silent())
        assert paths(Path(folder, "copy")) == paths(root)
        copied = {file.path: Path(file.source).read_bytes() for file in read_tree(Path(folder, "copy")).files}
        assert copied == {file.path: Path(file.source).read_bytes() for file in read_tree(root).files}
