from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.triggers.outputs import OutputsTrigger

FINGERPRINT = "ab" * 32
KEY = manifest_key(FINGERPRINT)


@pytest.fixture
def stores(tmp_path: Path) -> list[Datastore]:
    return [Datastore.open(str(tmp_path / name)) for name in ("own", "first", "second")]


def again(trigger: OutputsTrigger) -> OutputsTrigger:
    """The trigger as the triggerer makes it, from what Airflow's database keeps."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made: OutputsTrigger = getattr(importlib.import_module(module), name)(**arguments)
    return made


def fires(trigger: OutputsTrigger) -> bool:
    """Whether it fires at its first look; what it does before the next one is to sleep."""

    async def first() -> object:
        events = trigger.run()
        try:
            return (await anext(events)).payload
        except Asleep:
            return None

    return asyncio.run(first()) == {"status": "look"}


class Asleep(Exception):
    """Raised where the trigger would sleep."""


@pytest.fixture(autouse=True)
def sleepless(monkeypatch: pytest.MonkeyPatch) -> None:
    async def raise_asleep(seconds: float) -> None:
        raise Asleep

    monkeypatch.setattr("airflow_mlpipe.triggers.outputs.asyncio.sleep", raise_asleep)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_fires_when_any_of_the_stores_has_a_manifest(stores: list[Datastore], place: int) -> None:
    trigger = again(OutputsTrigger.for_manifest(stores, FINGERPRINT, 60))
    assert not fires(trigger)
    stores[place].write(KEY, b"sealed")
    assert fires(trigger)


def test_a_manifest_that_was_found_wanting_is_not_looked_at_twice(stores: list[Datastore]) -> None:
    stores[1].write(KEY, b"damaged")
    trigger = again(OutputsTrigger.for_manifest(stores, FINGERPRINT, 60))
    assert not fires(trigger)
    stores[1].delete(KEY)
    assert not fires(trigger)
    stores[1].write(KEY, b"made again")
    assert fires(trigger)


def test_it_fires_when_one_of_several_leases_is_gone(stores: list[Datastore]) -> None:
    other = "b" * 64
    held = [Leases(stores[0]).acquire(name, "d/r/t", "attempt-1") for name in (FINGERPRINT, other)]
    trigger = again(OutputsTrigger.for_leases(stores[0], [FINGERPRINT, other], 60))
    assert not fires(trigger)
    assert held[1] is not None
    held[1].release()
    assert fires(trigger)


def test_it_fires_when_the_lease_of_the_first_store_is_gone(stores: list[Datastore]) -> None:
    lease = Leases(stores[0]).acquire(FINGERPRINT, "d/r/t", "attempt-1")
    assert lease is not None
    trigger = again(OutputsTrigger.for_leases(stores[0], [FINGERPRINT], 60))
    assert not fires(trigger)
    lease.release()
    assert fires(trigger)
