"""What lies at a place, what has changed, and what waits until it is all there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.access import Access, as_it_is, resolve_with
from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.store.watching import NOTHING, ChangeSet, Snapshot, look, news
from tests.services import ObjectStore

LISTINGS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    put(folder / "a.csv", "1")
    put(folder / "2026/b.csv", "22")
    return folder


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def now(path: Path) -> Snapshot:
    return look(str(path))


def test_a_folder_is_looked_at_with_its_subfolders(place: Path) -> None:
    found = now(place)
    assert sorted(found.stamps) == ["2026/b.csv", "a.csv"]
    assert found.address("2026/b.csv") == str(place / "2026/b.csv")


def test_a_file_is_a_place_of_its_own(place: Path) -> None:
    found = now(place / "a.csv")
    assert [found.address(path) for path in found.stamps] == [str(place / "a.csv")]


def test_a_glob_is_looked_at_as_a_dataset_is(place: Path) -> None:
    put(place / "2026/.hidden.csv", "")
    assert sorted(now(place / "**/*.csv").stamps) == ["2026/b.csv", "a.csv"]
    assert sorted(now(place / "2026/*").stamps) == ["b.csv"]


def test_a_place_that_is_not_there_yet_is_empty(place: Path) -> None:
    assert not now(place / "later").stamps
    assert not now(place / "later/*.csv").stamps


def test_a_relative_path_is_no_place() -> None:
    with pytest.raises(StoreError, match="'raw' is a relative path"):
        look("raw")


def test_what_is_still_being_written_by_us_is_not_there(place: Path) -> None:
    put(place / ".mlpipe-1.tmp", "half")
    assert sorted(now(place).stamps) == ["2026/b.csv", "a.csv"]


def test_changes_are_told_by_kind(place: Path) -> None:
    before = now(place)
    put(place / "c.csv", "3")
    put(place / "2026/b.csv", "23")
    (place / "a.csv").unlink()
    change = ChangeSet.between(before, now(place))
    assert change == ChangeSet(added=("c.csv",), changed=("2026/b.csv",), removed=("a.csv",))
    assert change.present == ("2026/b.csv", "c.csv")


def test_a_file_that_takes_the_place_of_another_has_changed_although_size_and_time_are_the_same(
    place: Path,
) -> None:
    before, status = now(place), (place / "a.csv").stat()
    put(place / "new", "9")
    os.utime(place / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (place / "new").rename(place / "a.csv")
    assert ChangeSet.between(before, now(place)).changed == ("a.csv",)


@given(LISTINGS, LISTINGS, LISTINGS)
def test_two_changes_after_each_other_are_one(
    first: dict[str, str], second: dict[str, str], third: dict[str, str]
) -> None:
    one, two, three = (Snapshot("", stamps) for stamps in (first, second, third))
    together = ChangeSet.between(one, two).then(ChangeSet.between(two, three))
    whole = ChangeSet.between(one, three)
    assert together.added == whole.added
    assert together.removed == whole.removed
    # That a file was written twice, and is as it was, is not seen from the outside.
    assert {*whole.changed} <= {*together.changed}
    assert {*together.changed} <= first.keys() & third.keys()


def test_nothing_new_is_no_news_and_waits_for_nothing(place: Path) -> None:
    assert news(str(place), now(place), settle=5, pause=never) is None


def test_a_file_that_is_still_growing_waits_and_the_others_are_told(place: Path) -> None:
    told = now(place)
    put(place / "c.csv", "half")
    put(place / "d.csv", "all")

    found = news(str(place), told, settle=5, pause=lambda seconds: put(place / "c.csv", "half and half"))
    assert found is not None
    assert ChangeSet.between(told, found) == ChangeSet(added=("d.csv",))

    later = news(str(place), found, settle=5, pause=lambda seconds: None)
    assert later is not None
    assert ChangeSet.between(found, later) == ChangeSet(added=("c.csv",))


def test_a_file_that_is_being_replaced_is_neither_gone_nor_new(place: Path) -> None:
    told = now(place)
    (place / "a.csv").unlink()
    assert news(str(place), told, settle=5, pause=lambda seconds: put(place / "a.csv", "new")) is None


def test_it_is_looked_twice_with_the_time_to_settle_in_between(place: Path) -> None:
    pauses: list[float] = []
    news(str(place), NOTHING, settle=7, pause=pauses.append)
    assert pauses == [7]


def test_a_place_where_nothing_is_any_more_tells_nothing(place: Path) -> None:
    told = now(place)
    place.rename(place.with_name("unmounted"))
    assert news(str(place), told, settle=0) is None
    place.mkdir()
    assert news(str(place), told, settle=0) is None


def test_a_snapshot_is_read_as_it_was_written(place: Path) -> None:
    found = now(place)
    again = Snapshot.from_bytes(found.to_bytes())
    assert (again.root, again.stamps, again.digest) == (found.root, found.stamps, found.digest)


@pytest.mark.parametrize("data", [b"", b"no gzip", Snapshot("r", {"a": "1"}).to_bytes()[:-4]])
def test_a_damaged_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        Snapshot.from_bytes(data)


def test_a_hundred_thousand_files_are_a_small_document() -> None:
    files = {
        f"2026/{number:06}/part.parquet": f"1048576 17{number:09}0 {number}" for number in range(100_000)
    }
    assert len(Snapshot("s3://raw", files).to_bytes()) < 2_000_000


def test_a_server_is_looked_at_through_the_datastore_that_names_it(s3: ObjectStore) -> None:
    objects = s3.filesystem()
    objects.pipe({f"{s3.bucket}/raw/a.csv": b"1", f"{s3.bucket}/raw/2026/b.csv": b"2"})
    resolve_with(lambda url: Access(url.replace("datastore://lake", s3.url), s3.options))
    try:
        told = look("datastore://lake/raw/")
        assert sorted(told.stamps) == ["2026/b.csv", "a.csv"]
        assert told.address("2026/b.csv") == "datastore://lake/raw/2026/b.csv"
        assert [*look("datastore://lake/raw/*.csv").stamps] == ["a.csv"]
        (single,) = look("datastore://lake/raw/a.csv").stamps.items()
        assert single == ("a.csv", told.stamps["a.csv"])
        assert not look("datastore://lake/later/").stamps

        # Nobody sees half an object, so none has to settle; the same bytes are the same object.
        objects.pipe(f"{s3.bucket}/raw/a.csv", b"1")
        assert news("datastore://lake/raw/", told, settle=5, pause=never) is None
        objects.pipe(f"{s3.bucket}/raw/a.csv", b"3")
        found = news("datastore://lake/raw/", told, settle=5, pause=never)
        assert found is not None
        assert ChangeSet.between(told, found).changed == ("a.csv",)
    finally:
        resolve_with(as_it_is)


def never(seconds: float) -> None:
    raise AssertionError("nothing had to wait")
