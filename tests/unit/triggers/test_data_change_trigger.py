"""What a DataChangeTrigger tells, and when it counts as told: its sleeps are where a test acts."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from airflow_mlpipe import DataChangeSensor, changed_data
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.data_changes import MOST_IN_EVENT, change_of_events
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.watching import look
from airflow_mlpipe.triggers.data_change import (
    BOOKMARK,
    DataChangeTrigger,
    DataMovedTrigger,
    watched_data,
)

Action = Callable[[], object]


class State:
    """What Airflow keeps for the asset "raw"; it refuses to as often as *refusals* says."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.refusals = 0

    def __getitem__(self, asset: Any) -> State:
        if asset.name != "raw":
            raise KeyError(asset)
        return self

    async def aget(self, key: str) -> object:
        return self.kept.get(key)

    async def aset(self, key: str, value: object) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("the API server does not answer")
        self.kept[key] = json.loads(json.dumps(value))


class Ended(BaseException):
    """The triggerer ends."""


class Sleeps:
    """Stands in for asyncio.sleep: the n-th sleep is the n-th action; when there is none left, all ends."""

    def __init__(self, actions: tuple[Action, ...]) -> None:
        self.actions = list(actions)

    async def __call__(self, seconds: float) -> None:
        if not self.actions:
            raise Ended
        self.actions.pop(0)()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", str(tmp_path / "store"))
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def run(place: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Runs a trigger as the triggerer makes it, from what Airflow's database keeps; returns its events."""

    def run(*actions: Action, path: Path = place, **options: bool) -> list[dict[str, Any]]:
        trigger = again(DataChangeTrigger(str(path), "raw", settle=0, **options))
        assert isinstance(trigger, BaseEventTrigger)
        trigger.asset_state_store = state  # type: ignore[assignment]
        monkeypatch.setattr("airflow_mlpipe.triggers.data_change.asyncio.sleep", Sleeps(actions))
        events = []

        async def until_it_ends() -> None:
            try:
                async for event in trigger.run():
                    events.append(event.payload)
            except Ended:
                pass

        asyncio.run(until_it_ends())
        return events

    return run


def again(trigger: BaseTrigger) -> BaseTrigger:
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: BaseTrigger = getattr(importlib.import_module(module), name)(**arguments)
    return made


def nothing() -> None:
    """Nothing happens while the trigger sleeps."""


def put(path: Path, text: str = "1") -> Action:
    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_files_that_come_later_are_told_each_once(run: Any, place: Path) -> None:
    put(place / "old.csv")()
    (first, second) = run(put(place / "2026/a.csv"), nothing, nothing, put(place / "b.csv"), nothing, nothing)
    assert first["added"] == ["2026/a.csv"]
    assert first["path"] == first["root"] == str(place)
    assert (second["added"], second["sequence"]) == (["b.csv"], first["sequence"] + 1)


def test_what_is_there_at_the_first_look_is_told_only_when_that_is_asked_for(run: Any, place: Path) -> None:
    put(place / "old.csv")()
    assert run(nothing, nothing) == []
    # Another trigger of the same asset goes on where that one was, whatever it is asked for.
    assert run(nothing, nothing, existing=True) == []
    put(place.with_name("other") / "old.csv")()
    (event,) = run(nothing, nothing, existing=True, path=place.with_name("other"))
    assert event["added"] == ["old.csv"]


def test_a_triggerer_that_ends_before_the_event_was_stored_tells_it_again(run: Any, place: Path) -> None:
    (lost,) = run(put(place / "a.csv"))
    (told,) = run(nothing, nothing)
    assert told == lost


def test_a_triggerer_that_ends_later_tells_nothing_twice_and_loses_nothing(run: Any, place: Path) -> None:
    assert len(run(put(place / "a.csv"), nothing)) == 1
    put(place / "b.csv")()  # while no triggerer is there
    (told,) = run(nothing, nothing)
    assert told["added"] == ["b.csv"]


def test_a_place_that_does_not_answer_is_looked_at_again(run: Any, place: Path) -> None:
    store = place.with_name("store")
    put(store)()  # no folder, so nothing can be kept there
    assert run(store.unlink, put(place / "a.csv"), nothing) != []


def test_while_airflow_cannot_keep_what_was_told_nothing_is_told_twice(
    run: Any, place: Path, state: State
) -> None:
    assert run(nothing) == []  # it begins
    put(place / "a.csv")()
    state.refusals = 2
    assert len(run(nothing, nothing, nothing, nothing, nothing)) == 1
    assert run(nothing) == []


def test_another_path_of_the_same_asset_is_another_watch(run: Any, place: Path) -> None:
    run(nothing)
    other = place.with_name("other")
    put(other / "old.csv")()
    (event,) = run(put(other / "a.csv"), nothing, path=other)
    assert event["added"] == ["a.csv"]


def test_a_bookmark_that_is_damaged_tells_what_is_there(run: Any, place: Path, state: State) -> None:
    put(place / "a.csv")()
    state.kept[BOOKMARK] = "damaged"
    (event,) = run(nothing, nothing)
    assert event["added"] == ["a.csv"]


def test_an_event_names_few_files_and_all_can_be_looked_up(run: Any, place: Path, tmp_path: Path) -> None:
    names = [f"{number:04}.csv" for number in range(MOST_IN_EVENT + 50)]
    (event,) = run(lambda: [put(place / name)() for name in names], nothing)
    assert len(event["added"]) == MOST_IN_EVENT
    assert event["more"] == 50
    change = change_of_events([event], Datastore.open(str(tmp_path / "store")))
    assert list(change.change.added) == names


def test_a_trigger_that_belongs_to_no_asset_says_so(place: Path) -> None:
    with pytest.raises(DefinitionError, match=r"use watched_data\(\)"):
        DataChangeTrigger(str(place), "raw")._state  # noqa: B018


def test_a_task_is_woken_when_the_listing_is_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(str(place)).digest
    trigger = again(DataMovedTrigger(str(place), seen, 60))
    sleeps = Sleeps((nothing, put(place / "a.csv")))
    monkeypatch.setattr("airflow_mlpipe.triggers.data_change.asyncio.sleep", sleeps)

    async def first() -> object:
        return (await anext(trigger.run())).payload

    assert asyncio.run(first()) == {"status": "look"}


def test_a_watched_place_is_an_asset_whose_watcher_can_be_made_again() -> None:
    asset = watched_data("s3://raw/größe/*.csv", poll_interval=30)
    assert asset.name == "mlpipe.data.s3://raw/gr%C3%B6%C3%9Fe/*.csv"
    assert asset.uri.isascii()
    (watcher,) = asset.watchers
    made = again(watcher.trigger)
    assert isinstance(made, DataChangeTrigger)
    assert (made.path, made.asset, made.poll_interval) == ("s3://raw/größe/*.csv", asset.name, 30)
    assert watched_data("/raw", name="raw").name == "raw"


def test_the_changes_of_an_asset_that_nobody_watches_cannot_be_asked_for() -> None:
    with pytest.raises(DefinitionError, match=r"is not what watched_data\(\) returns"):
        changed_data(Asset("raw"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"poke_interval": 8}, "poke_interval=8.0 is no number of seconds from 9 on"),
        ({"settle": -1}, "settle=-1 is no number of seconds from 0 on"),
        ({"path": 7}, "names no data"),
    ],
)
def test_a_sensor_that_cannot_wait_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        DataChangeSensor(**{"task_id": "news", "path": "raw/", **options})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"path": "data/raw"}, "a triggerer has no DAG folder"),
        ({"path": "/raw", "poll_interval": 0}, "poll_interval=0 is no number of seconds from 1 on"),
        ({"path": "/raw", "settle": -1}, "settle=-1 is no number of seconds from 0 on"),
        ({"path": 7}, "names no data"),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        watched_data(**arguments)
