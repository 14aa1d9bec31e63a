"""How far a follower has read the log of an attempt, kept with the attempt's records."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix
from airflow_mlpipe.targets.kubernetes.log_stream import LogPosition

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Bookmark:
    """The place in the log of *attempt* for *follower*, the try of a task that shows it.

    The triggerer moves it along, so that the worker that goes on, or another triggerer, shows only what
    follows. Another try begins anew: its log is a page of its own.
    """

    datastore: Datastore
    attempt: str
    follower: str

    def read(self) -> LogPosition:
        """Where to go on: the beginning when nothing usable was kept. Raises StoreError."""
        try:
            document = json.loads(self.datastore.read(self._key) or b"{}")
            if (document.pop("schema_version"), document.pop("follower")) != (SCHEMA_VERSION, self.follower):
                return LogPosition()
            numbers = {name: int(value) for name, value in document.items()}
            return LogPosition(**numbers)
        except (ValueError, KeyError, TypeError, AttributeError):
            return LogPosition()

    def move(self, position: LogPosition) -> None:
        """Keep *position*, unless a further one is kept: a triggerer that stood still is followed by another.

        A store that fails costs lines shown twice, no more.
        """
        document = {
            "schema_version": SCHEMA_VERSION,
            "follower": self.follower,
            **dataclasses.asdict(position),
        }
        try:
            if self.read().last > position.last:
                return
            self.datastore.write(self._key, json.dumps(document).encode())
        except StoreError:
            return

    @property
    def _key(self) -> str:
        return f"{attempt_prefix(self.attempt)}/followed/{self.follower or 'nobody'}.json"
