"""The trigger that watches an attempt: what it is made of, and what it does without a cluster."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.triggers.attempt import AttemptTrigger

LEASE = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore.open(f"file://{tmp_path}/store")


def trigger(store: Datastore, folder: Path, deadline: float | None = None) -> AttemptTrigger:
    """One whose cluster is nowhere."""
    cluster = {
        "kubernetes_conn_id": None,
        "in_cluster": None,
        "config_file": str(folder / "nowhere.kubeconfig"),
        "cluster_context": None,
        "namespace": "ml",
    }
    patience = {"schedule": 1.0, "pull": 1.0, "start": 1.0}
    return AttemptTrigger(cluster, patience, store.url, "attempt-1", [LEASE], "me", "attempt-1", deadline)


def event(watching: AttemptTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return (await anext(watching.run())).payload

    payload: dict[str, Any] = asyncio.run(asyncio.wait_for(first(), 60))
    return payload


def test_a_trigger_is_made_again_from_plain_json(store: Datastore, tmp_path: Path) -> None:
    path, fields = trigger(store, tmp_path, deadline=5.0).serialize()
    assert path == "airflow_mlpipe.triggers.attempt.AttemptTrigger"
    again = AttemptTrigger(**json.loads(json.dumps(fields)))
    assert again.serialize() == (path, fields)


def test_a_cluster_that_the_triggerer_cannot_reach_is_left_to_a_worker_who_is_told_why(
    store: Datastore, tmp_path: Path
) -> None:
    fired = event(trigger(store, tmp_path))
    assert fired["status"] == "unwatched"
    assert "nowhere.kubeconfig" in fired["message"]


def test_the_lease_that_a_worker_left_is_renewed(store: Datastore, tmp_path: Path) -> None:
    held = Leases(store).take(LEASE, "me", "attempt-1")
    assert isinstance(held, Lease)
    held.leave()
    watching = trigger(store, tmp_path)

    async def renewed() -> None:
        renewing = asyncio.create_task(watching._keep_lease(LEASE))
        deadline = time.monotonic() + 30
        while (current := Leases(store).current(LEASE)) is not None and not current.document.renewals:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        renewing.cancel()

    asyncio.run(renewed())
    current = Leases(store).current(LEASE)
    assert current is not None
    assert (current.owner, current.token) == ("me", held.record.token)
