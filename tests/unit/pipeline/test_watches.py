"""Which change which run is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.pipeline.data_changes import DataChange
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.watches import TaskWatch
from airflow_mlpipe.store import watch_log
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import watch_bookmark_key, watch_listing_key
from airflow_mlpipe.store.watch_log import Bookmark
from airflow_mlpipe.store.watching import Snapshot, news

KEY = watch_bookmark_key("retrain", "news")


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore.open(str(tmp_path / "store"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "old.csv").write_text("old")
    return folder


def watch_of(store: Datastore, place: Path, run_id: str) -> TaskWatch:
    identity = TaskIdentity("retrain", run_id, "news", -1, 1, "instance")
    return TaskWatch(store, "raw", str(place), identity)


def told(store: Datastore, place: Path, run_id: str, *, existing: bool = True) -> DataChange | None:
    return watch_of(store, place, run_id).next_change(existing=existing, settle=0)


def added(change: DataChange | None) -> tuple[str, ...]:
    assert change is not None
    return change.change.added


def test_a_change_is_told_to_one_run(store: Datastore, place: Path) -> None:
    assert added(told(store, place, "first")) == ("old.csv",)
    assert told(store, place, "second") is None
    (place / "new.csv").write_text("new")
    assert added(told(store, place, "second")) == ("new.csv",)


def test_a_run_that_is_cleared_is_told_the_same_again(store: Datastore, place: Path) -> None:
    first = told(store, place, "first")
    (place / "new.csv").write_text("new")
    assert told(store, place, "first") == first
    assert added(told(store, place, "second")) == ("new.csv",)
    assert told(store, place, "first") == first


def test_what_is_there_at_the_first_look_is_no_news_to_one_who_says_so(store: Datastore, place: Path) -> None:
    assert told(store, place, "first", existing=False) is None
    (place / "new.csv").write_text("new")
    assert added(told(store, place, "first", existing=False)) == ("new.csv",)


def test_of_two_runs_at_once_one_is_told(store: Datastore, place: Path) -> None:
    told(store, place, "first")
    (place / "new.csv").write_text("new")
    second, third = (watch_of(store, place, run_id) for run_id in ("second", "third"))
    written = store.read(KEY)
    assert added(third.next_change(existing=True, settle=0)) == ("new.csv",)
    assert written is not None
    assert not second._move(written, Bookmark.of(written).moved("second"))
    assert second.next_change(existing=True, settle=0) is None


def test_what_the_slower_of_two_runs_saw_besides_is_told_to_the_next(
    store: Datastore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(store, place, "first")
    (place / "new.csv").write_text("new")

    def look_and_be_overtaken(*arguments: Any, **options: Any) -> Snapshot | None:
        monkeypatch.undo()
        assert added(told(store, place, "third")) == ("new.csv",)
        (place / "newer.csv").write_text("newer")
        return news(*arguments, **options)

    monkeypatch.setattr(watch_log, "news", look_and_be_overtaken)
    assert told(store, place, "second") is None
    assert added(told(store, place, "fourth")) == ("newer.csv",)
    assert added(told(store, place, "third")) == ("new.csv",)


def test_a_bundle_that_lies_elsewhere_is_the_same_place(store: Datastore, place: Path) -> None:
    told(store, place, "first")
    place.rename(place.with_name("next_commit"))
    assert told(store, place.with_name("next_commit"), "second") is None


def test_what_was_told_is_lost_at_the_cost_of_telling_all_again(store: Datastore, place: Path) -> None:
    told(store, place, "first")
    written = store.read(KEY)
    assert written is not None
    store.delete(watch_listing_key(Bookmark.of(written).watch, 1))
    assert added(told(store, place, "first")) == ("old.csv",)
    assert added(told(store, place, "second")) == ("old.csv",)
    store.write(KEY, b"damaged")
    assert added(told(store, place, "third")) == ("old.csv",)


def test_the_triggerer_waits_for_another_listing_than_the_one_that_was_told(
    store: Datastore, place: Path
) -> None:
    change = told(store, place, "first")
    assert change is not None
    assert watch_of(store, place, "second").told_digest == change.digest
