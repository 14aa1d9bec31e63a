"""Asking the Kubernetes API again: when, and for how long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from airflow_mlpipe.targets.kubernetes.api_call import ApiCall, Refusal

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
# An API server that has just started refuses everybody until it has read the roles.
_PATIENCE_WHEN_DENIED_SECONDS = 15.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0


class Persistence:
    """What a client remembers to tell a refusal that will pass from one that will not.

    It is *patient* for so many seconds with an API that does not answer. *stopwatch* counts seconds and never
    goes back.
    """

    def __init__(
        self, patient: float = PATIENCE_SECONDS, stopwatch: Callable[[], float] = time.monotonic
    ) -> None:
        self._patient = patient
        self._stopwatch = stopwatch
        self._granted: set[tuple[str, str]] = set()
        self._failing_since: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS

    def succeeded(self, call: ApiCall) -> None:
        """Note that *call* was answered."""
        self._granted.add((call.verb, call.resource))
        self._failing_since, self._pause = None, _FIRST_PAUSE_SECONDS

    def pause_after(self, refusal: Refusal) -> float:
        """The seconds to wait before asking again; raises *refusal* when that has no use.

        Raises InfrastructureError when there was no answer for too long.
        """
        was_granted = (refusal.call.verb, refusal.call.resource) in self._granted
        if not (refusal.is_transient or (refusal.is_denied and was_granted)):
            raise refusal
        now = self._stopwatch()
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        patient = self._patient if refusal.is_transient else min(_PATIENCE_WHEN_DENIED_SECONDS, self._patient)
        if now + self._pause - since >= patient:
            self._failing_since = None
            raise refusal.error() from refusal
        log.info("The Kubernetes API does not answer, asking again: %s", refusal.text or refusal.status)
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return pause
