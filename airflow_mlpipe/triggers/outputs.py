"""Waiting in the triggerer for outputs that somebody else is making."""

from __future__ import annotations

import asyncio
import hashlib
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
    """Fires when it is time for a worker to look again, who judges whether outputs can be used.

    With a *lease* that is when nobody holds it any more. Without, it is when the manifest of *fingerprint* is
    another than that with the digest *seen* ("" for none), so that a manifest which was found wanting is not
    looked at twice. *poll_interval* is in seconds. The event is ``{"status": "look"}``, or ``{"status":
    "error", "message": ...}`` when the store fails.
    """

    def __init__(
        self, datastore: str, poll_interval: float, lease: str = "", fingerprint: str = "", seen: str = ""
    ) -> None:
        super().__init__()
        self.datastore = datastore
        self.poll_interval = poll_interval
        self.lease = lease
        self.fingerprint = fingerprint
        self.seen = seen

    @classmethod
    def for_lease(cls, datastore: Datastore, lease: str, poll_interval: float) -> OutputsTrigger:
        """Wait until the holder of *lease* has ended, one way or another."""
        return cls(datastore.url, poll_interval, lease=lease)

    @classmethod
    def for_manifest(cls, datastore: Datastore, fingerprint: str, poll_interval: float) -> OutputsTrigger:
        """Wait until something is sealed under *fingerprint* that is not there now."""
        seen = _manifest_digest(datastore, fingerprint)
        return cls(datastore.url, poll_interval, fingerprint=fingerprint, seen=seen)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        names = ("datastore", "poll_interval", "lease", "fingerprint", "seen")
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            name: getattr(self, name) for name in names
        }

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
        if self.lease:
            current = Leases(store).current(self.lease)
            return current is None or current.expired(time.time())
        return _manifest_digest(store, self.fingerprint) not in ("", self.seen)


def _manifest_digest(datastore: Datastore, fingerprint: str) -> str:
    data = datastore.read(manifest_key(fingerprint))
    return "" if data is None else hashlib.sha256(data).hexdigest()
