"""The sign of life that the supervisor of an attempt gives, see :mod:`airflow_mlpipe.runtime.supervisor`."""

from __future__ import annotations

import json
from typing import NamedTuple

from airflow_mlpipe.targets.contract import AttemptDirectory

FRESH_SECONDS = 30.0  # of one that cannot be asked, and is given every five seconds


class Heartbeat(NamedTuple):
    """Which process gave it on which host, and ``at`` which time, in seconds since the epoch.

    ``started_at`` tells the process from an earlier one with its id; None when the system does not.
    """

    pid: int
    started_at: str | None
    host: str
    at: float

    def is_fresh(self, now: float) -> bool:
        """Whether it was given so short a time ago that its supervisor must be taken for alive."""
        return now - self.at < FRESH_SECONDS


def heartbeat(attempt: AttemptDirectory) -> Heartbeat | None:
    """The last one of *attempt*; None when there is none that can be read."""
    try:
        document = json.loads(attempt.heartbeat_path.read_bytes())
        return Heartbeat(
            int(document["pid"]), document["started_at"], str(document["host"]), float(document["at"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
