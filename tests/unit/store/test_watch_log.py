"""What was told of a place, and what is told next, through crashes and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.store import watch_log
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import watch_listing_key
from airflow_mlpipe.store.watch_log import Bookmark, News, WatchLog, begin, news_since
from airflow_mlpipe.store.watching import ChangeSet


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    return folder


def begun(store: Datastore, place: Path, *, existing: bool = False) -> Bookmark:
    return begin(store, str(place), str(place), existing=existing)


def next_news(store: Datastore, place: Path, bookmark: Bookmark) -> News:
    found = news_since(bookmark, store, str(place), settle=0)
    assert found is not None
    return found


def test_what_is_there_when_a_watch_begins_is_no_news_unless_it_was_asked_for(
    local: Datastore, place: Path
) -> None:
    assert news_since(begun(local, place), local, str(place), settle=0) is None
    asked = begun(local, place, existing=True)
    assert next_news(local, place, asked).change == ChangeSet(added=("a.csv",))


def test_each_change_is_told_once_to_who_moves_the_bookmark(local: Datastore, place: Path) -> None:
    bookmark = begun(local, place)
    (place / "b.csv").write_text("2")
    first = next_news(local, place, bookmark)
    assert news_since(first.bookmark, local, str(place), settle=0) is None
    (place / "c.csv").write_text("3")
    second = next_news(local, place, first.bookmark)
    assert (first.change.added, second.change.added) == (("b.csv",), ("c.csv",))


def test_one_who_crashed_before_the_bookmark_moved_is_told_the_same_and_then_what_came_since(
    local: Datastore, place: Path
) -> None:
    bookmark = Bookmark.of(begun(local, place).to_bytes())
    (place / "b.csv").write_text("2")
    lost = next_news(local, place, bookmark)
    (place / "c.csv").write_text("3")
    again = next_news(local, place, bookmark)
    assert again == lost
    assert WatchLog(local, bookmark.watch).change(again.bookmark.sequence) == again.change
    assert next_news(local, place, again.bookmark).change.added == ("c.csv",)


def test_a_listing_that_is_damaged_before_it_was_told_is_made_anew(local: Datastore, place: Path) -> None:
    bookmark = begun(local, place)
    (place / "b.csv").write_text("2")
    local.write(watch_listing_key(bookmark.watch, 2), b"damaged")
    found = next_news(local, place, bookmark)
    assert WatchLog(local, bookmark.watch).change(2) == found.change == ChangeSet(added=("b.csv",))


def test_a_store_that_keeps_no_listing_makes_nothing_be_told(local: Datastore, place: Path) -> None:
    bookmark = begun(local, place)
    (place / "b.csv").write_text("2")
    path = local.local_path(watch_listing_key(bookmark.watch, 2))
    assert path is not None
    path.mkdir()  # nothing can be written here
    with pytest.raises(StoreError, match="cannot create"):
        news_since(bookmark, local, str(place), settle=0)


def test_when_it_is_not_known_what_was_told_all_of_it_is_told(local: Datastore, place: Path) -> None:
    bookmark = begun(local, place)
    local.write(watch_listing_key(bookmark.watch, 1), b"damaged")
    found = next_news(local, place, bookmark)
    assert found.change.added == ("a.csv",)
    with pytest.raises(DocumentError):
        WatchLog(local, bookmark.watch).change(found.bookmark.sequence)


def test_only_the_latest_listings_are_kept(
    local: Datastore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_log, "KEPT", 3)
    bookmark = begun(local, place)
    for number in range(6):
        (place / f"{number}.csv").write_text("new")
        bookmark = next_news(local, place, bookmark).bookmark
    journal = WatchLog(local, bookmark.watch)
    assert journal.change(bookmark.sequence).added == ("5.csv",)
    assert len(list(local.files())) == 3


def test_a_bookmark_remembers_the_latest_runs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_log, "KEPT", 2)
    bookmark = Bookmark(path="raw").moved("first").moved("second").moved("third")
    assert bookmark.runs == {"second": 2, "third": 3}


@pytest.mark.parametrize("document", [b"", b"{}", "raw", {"schema_version": 2, "path": "raw"}])
def test_a_damaged_bookmark_is_refused(document: object) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        Bookmark.of(document)
