"""Waiting in the triggerer for outputs that somebody else is making."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.resuming import task_may_resume
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.lease import LeaseRecord, Leases

# A triggerer loads no DAG file that would say so.
know_datastores()

# A store that does not answer for this many polls in a row is reported to the task.
PATIENCE = 10


class OutputsTrigger(BaseTrigger):
    """Fires when it is time for a worker to look again, who judges whether outputs can be used.

    With *leases* that is when nobody holds one of them any more: it was released, or it was not renewed for
    its duration while the triggerer's own stopwatch ran. Without, it is when one of *datastores*, URLs, has
    another manifest of *fingerprint* than that with the digest in *seen* ("" for none), so that a manifest
    which was found wanting is not looked at twice. *poll_interval* is in seconds. The event is ``{"status":
    "look"}``, or ``{"status": "error", "message": ...}`` when the store fails.
    """

    def __init__(
        self,
        datastores: Sequence[str],
        poll_interval: float,
        leases: Sequence[str] = (),
        fingerprint: str = "",
        seen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.datastores = list(datastores)
        self.poll_interval = poll_interval
        self.leases = list(leases)
        self.fingerprint = fingerprint
        self.seen = list(seen)
        self._watched: dict[str, tuple[bytes, float]] = {}

    @classmethod
    def for_leases(cls, datastore: Datastore, leases: Sequence[str], poll_interval: float) -> OutputsTrigger:
        """Wait until the holder of one of *leases* has ended, one way or another."""
        return cls([datastore.url], poll_interval, leases=leases)

    @classmethod
    def for_manifest(
        cls, datastores: Iterable[Datastore], fingerprint: str, poll_interval: float
    ) -> OutputsTrigger:
        """Wait until something is sealed under *fingerprint* that is not there now."""
        seen = {store.url: _manifest_digest(store, fingerprint) for store in datastores}
        return cls([*seen], poll_interval, fingerprint=fingerprint, seen=[*seen.values()])

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        names = ("datastores", "poll_interval", "leases", "fingerprint", "seen")
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            name: getattr(self, name) for name in names
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, off the event loop: stores answer synchronously."""
        began = time.monotonic()
        event = await self._event()
        await task_may_resume(began)
        yield TriggerEvent(event)

    async def _event(self) -> dict[str, str]:
        failures = 0
        while True:
            try:
                if await asyncio.to_thread(self._is_time_to_look):
                    return {"status": "look"}
                failures = 0
            except MLPipeError as error:
                failures += 1
                if failures >= PATIENCE:
                    return {"status": "error", "message": str(error)}
            await asyncio.sleep(self.poll_interval)

    def _is_time_to_look(self) -> bool:
        stores = [Datastore.open(url) for url in self.datastores]
        if self.leases:
            return any(self._has_ended(name, Leases(stores[0]).current(name)) for name in self.leases)
        return any(
            _manifest_digest(store, self.fingerprint) not in ("", seen)
            for store, seen in zip(stores, self.seen, strict=True)
        )

    def _has_ended(self, name: str, lease: LeaseRecord | None) -> bool:
        # Asking the store for the lease's age would take the right to write, which a triggerer may not have.
        if lease is None:
            return True
        now = time.monotonic()
        raw, since = self._watched.get(name, (b"", now))
        if lease.raw != raw:
            since = now
        self._watched[name] = lease.raw, since
        return now - since >= lease.duration


def _manifest_digest(datastore: Datastore, fingerprint: str) -> str:
    data = datastore.read(manifest_key(fingerprint))
    return "" if data is None else hashlib.sha256(data).hexdigest()
