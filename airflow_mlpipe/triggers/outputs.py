"""Waiting in the triggerer for outputs that somebody else is making."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.lease import Leases

# A store that does not answer for this many polls in a row is reported to the task.
PATIENCE = 10


class OutputsTrigger(BaseTrigger):
    """Fires when outputs are sealed, or when nobody holds the lease any more.

    Whether the outputs can be used is for the worker to judge. Without a *lease* only the seal counts.
    The event is ``{"status": "look"}``, or ``{"status": "error", "message": ...}`` when the store fails.
    """

    def __init__(self, datastore: str, fingerprint: str, lease: str, poll_interval: float) -> None:
        super().__init__()
        self.datastore = datastore
        self.fingerprint = fingerprint
        self.lease = lease
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        arguments = {
            name: getattr(self, name) for name in ("datastore", "fingerprint", "lease", "poll_interval")
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, off the event loop: stores answer synchronously."""
        failures = 0
        while True:
            try:
                if await asyncio.to_thread(self._is_time_to_look):
                    yield TriggerEvent({"status": "look"})
                    return
                failures = 0
            except MLPipeError as error:
                failures += 1
                if failures >= PATIENCE:
                    yield TriggerEvent({"status": "error", "message": str(error)})
                    return
            await asyncio.sleep(self.poll_interval)

    def _is_time_to_look(self) -> bool:
        store = Datastore.open(self.datastore)
        if not self.lease:
            return store.exists(manifest_key(self.fingerprint))
        current = Leases(store).current(self.lease)
        return current is None or current.expired(time.time())
