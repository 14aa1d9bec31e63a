"""What a copy must not lose: by empty sources, links at the destination, names that look like patterns."""

from __future__ import annotations

import uuid
from pathlib import Path

import fsspec
import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.transfer.copying import copy_tree


def put(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return str(root)


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_mirror_deletes_nothing_when_one_of_its_sources_is_empty(tmp_path: Path, is_there: bool) -> None:
    full, empty = put(tmp_path / "full", "x"), tmp_path / "empty"
    if is_there:
        empty.mkdir()
    put(tmp_path / "to", "b/kept")
    with pytest.raises(StoreError, match=f"nothing is at {empty}"):
        copy_tree({"a": full, "b": str(empty)}, str(tmp_path / "to"), Progress.silent(), mirror=True)
    assert names(tmp_path / "to") == ["b/kept"]


def test_without_a_mirror_one_of_several_folders_may_be_empty_but_not_missing(tmp_path: Path) -> None:
    full, empty = put(tmp_path / "full", "x"), tmp_path / "empty"
    sources = {"a": full, "b": str(empty)}
    with pytest.raises(StoreError, match=f"nothing is at {empty}"):
        copy_tree(sources, str(tmp_path / "to"), Progress.silent())
    empty.mkdir()
    assert copy_tree(sources, str(tmp_path / "to"), Progress.silent()).copied == 1


def test_a_mirror_takes_away_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    source = put(tmp_path / "from", "2026/x", "2026/y")
    target = tmp_path / "to"
    put(target, "2026/x", "2026/y")
    (target / "latest").symlink_to("2026")
    copy_tree({"": source}, str(target), Progress.silent(), mirror=True)
    assert names(target) == ["2026/x", "2026/y"]
    assert not (target / "latest").is_symlink()


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4()}"
    fsspec.filesystem("memory").pipe({f"{root}/b[1].csv": b"right", f"{root}/b1.csv": b"wrong"})
    copy_tree({"b[1].csv": f"{root}/b[1].csv"}, f"file://{tmp_path}/to", Progress.silent())
    assert (tmp_path / "to" / "b[1].csv").read_bytes() == b"right"
