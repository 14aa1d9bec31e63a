"""How a change is handed on: as an event, and by XCom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.pipeline import data_changes
from airflow_mlpipe.pipeline.data_changes import DataChange, all_that_is_there, change_of_events
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.watching import ChangeSet


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore.open(str(tmp_path / "store"))


def event(sequence: int, more: int = 0, path: str = "/raw", **paths: list[str]) -> dict[str, Any]:
    shown = {"added": [], "changed": [], "removed": [], **paths}
    return {
        "path": path,
        "root": path,
        **shown,
        "more": more,
        "digest": f"digest {sequence}",
        "watch": "0" * 32,
        "sequence": sequence,
    }


def test_several_events_are_one_change_in_the_order_in_which_they_came(store: Datastore) -> None:
    events = [event(3, changed=["b"], removed=["a"]), event(2, added=["a", "b"])]
    change = change_of_events(events, store)
    assert change == DataChange("/raw", "/raw", ChangeSet(added=("b",)), "digest 3")


def test_when_it_is_not_known_any_more_what_changed_everything_has(store: Datastore, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_text("a")
    events = [event(7, more=5000, path=str(tmp_path / "raw"), removed=["b.csv"])]
    change = change_of_events(events, store)
    assert change.change == ChangeSet(added=("a.csv",))
    assert change.addresses == [str(tmp_path / "raw/a.csv")]


def test_files_become_inputs_by_their_own_names() -> None:
    change = DataChange("s3://raw/*.csv", "s3://raw", ChangeSet(("a.csv", "b[1].csv"), (), ("c.csv",)), "d")
    assert change.addresses == ["s3://raw/a.csv", "s3://raw/b[1].csv"]
    # In the path of a dataset, brackets are a pattern.
    assert [dataset.paths for dataset in change.datasets()] == [("s3://raw/a.csv",), ("s3://raw/b[[]1].csv",)]
    assert change.keys()["data"].paths == ("s3://raw/a.csv", "s3://raw/b[[]1].csv")
    assert change.keys()["removed"] == ["c.csv"]
    assert change.sentence == "new: a.csv, b[1].csv; gone: c.csv"


def test_one_file_is_a_folder_of_one_file_unless_it_is_all_that_is_watched() -> None:
    change = DataChange("/raw", "/raw", ChangeSet(("a.csv",)), "d")
    assert change.datasets()[0].paths == ("/raw/a.csv",)
    assert change.keys()["data"].paths == ("/raw/a.cs[v]",)
    whole = DataChange("/raw/a.csv", "/raw", ChangeSet(("a.csv",)), "d")
    assert whole.keys()["data"].paths == ("/raw/a.csv",)


def test_when_files_have_only_gone_there_is_nothing_to_read() -> None:
    change = DataChange("/raw", "/raw", ChangeSet(removed=("a.csv",)), "d")
    assert change.datasets() == []
    assert "data" not in change.keys()  # noqa: SIM118 - no dict


def test_the_place_stands_for_more_files_than_can_be_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_changes, "MOST_IN_XCOM", 2)
    few = DataChange("/raw/*", "/raw", ChangeSet(("a", "b")), "d")
    many = DataChange("/raw/*", "/raw", ChangeSet(("a", "b", "c")), "d")
    assert few.addresses == ["/raw/a", "/raw/b"]
    assert many.addresses == ["/raw/*"]
    assert many.keys()["data"].paths == ("/raw/*",)
    assert many.keys()["added"] == []


def test_all_that_is_there_counts_as_added(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    assert all_that_is_there(str(tmp_path)).change == ChangeSet(added=("a.csv",))
    assert not all_that_is_there(str(tmp_path / "later")).change
