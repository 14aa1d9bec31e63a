"""What several paths of one dataset are called in the folder that they make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_mlpipe.access import Access
from airflow_mlpipe.errors import UserError
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.sources import SourceFinder, _names


def names(tmp_path: Path, *paths: str) -> list[str]:
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    with HashCache(tmp_path / "digests.sqlite") as cache:
        found = SourceFinder(tmp_path, cache).dataset(paths, None, "input raw")
    return [place.path for place in found.places]


def test_each_keeps_its_last_name(tmp_path: Path) -> None:
    assert names(tmp_path, "raw/2026/a.csv", "other/b.csv") == ["a.csv", "b.csv"]


def test_where_two_share_it_all_are_called_as_below_the_folder_in_common(tmp_path: Path) -> None:
    paths = "raw/2026/a.csv", "raw/2027/a.csv", "raw/b.csv"
    assert names(tmp_path, *paths) == ["2026/a.csv", "2027/a.csv", "b.csv"]


def test_one_path_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two paths of one dataset end in 'a\.csv'"):
        names(tmp_path, "raw/a.csv", "raw/a.csv")


def test_a_pattern_among_them_has_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/[1].csv").touch()
    with HashCache(None) as cache:
        for name in ("raw/2026/a.csv", "raw/2027/a.csv"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
        paths = "raw/2026/a.csv", "odd/[[]1].csv", "raw/2027/a.csv"
        found = SourceFinder(tmp_path, cache).dataset(paths, None, "input raw")
    first, pattern, second = (place.path for place in found.places)
    assert (first, second) == ("2026/a.csv", "2027/a.csv")
    assert re.fullmatch(r"[0-9a-f]{8}/\[1\]\.csv", pattern)


@pytest.mark.parametrize("path", [".", "raw/..", "/"])
def test_one_that_has_no_name_is_refused_beside_others(tmp_path: Path, path: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "a.csv").touch()
    with HashCache(None) as cache, pytest.raises(UserError, match="write out the name of the folder"):
        SourceFinder(tmp_path, cache).dataset(["a.csv", path], None, "input raw")


def test_the_query_of_a_web_address_is_in_no_name() -> None:
    paths = ["https://host/2026/a.csv?key=secret", "https://host/2027/a.csv?key=other/secret"]
    assert _names(paths, [Access(path) for path in paths]) == ["2026/a.csv", "2027/a.csv"]
