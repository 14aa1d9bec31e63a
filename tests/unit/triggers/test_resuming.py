"""A task that waits does not go on before Airflow knows that its process has ended."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_mlpipe.pipeline import resuming
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.triggers.attempt import AttemptTrigger
from airflow_mlpipe.triggers.data_change import DataMovedTrigger
from airflow_mlpipe.triggers.outputs import OutputsTrigger

known_after = resuming.resume_seconds  # the fixture of all triggers replaces it


def watching_pod(store: Datastore) -> AttemptTrigger:
    patience = {"schedule": 1.0, "pull": 1.0, "start": 1.0}
    return AttemptTrigger({}, patience, store.url, "attempt-1", [], "me", "attempt-1", {}, 1)


def released(store: Datastore) -> OutputsTrigger:
    return OutputsTrigger.for_leases(store, ["ab" * 32], 60)


def failing(_: Datastore) -> OutputsTrigger:
    return OutputsTrigger(["nosuch://store"], 0.001, leases=["ab" * 32])


def moved(store: Datastore) -> DataMovedTrigger:
    store.write("data.csv", b"1")
    return DataMovedTrigger(f"{store.url}/data.csv", "another digest", 0.001)


@pytest.mark.parametrize(
    ("make", "status"),
    [(watching_pod, "unwatched"), (released, "look"), (failing, "error"), (moved, "look")],
)
def test_what_is_known_at_once_is_told_when_the_task_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, status: str
) -> None:
    assert callable(make)
    trigger: BaseTrigger = make(Datastore.open(f"file://{tmp_path}/store"))

    async def first() -> object:
        return (await anext(trigger.run())).payload["status"]

    assert asyncio.run(first()) == status  # what it needs is imported by now
    monkeypatch.setattr(resuming, "resume_seconds", lambda: 0.7)
    began = time.monotonic()
    assert asyncio.run(first()) == status
    assert time.monotonic() - began >= 0.7


def test_a_process_that_ends_is_noticed_within_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "17")
    assert known_after() > 17
