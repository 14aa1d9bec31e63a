"""The signals that ask for the end of an attempt."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from airflow_mlpipe.carrier.supervision import Supervision
from airflow_mlpipe.runtime.process_tree import END_SIGNALS


class Terminated(BaseException):
    """Somebody asked for the end of the attempt."""


class Signals:
    """Listens for them from now on, also for those that came while they were blocked.

    While the step runs they are the supervisor's; while something is fetched or left, they end that.
    """

    def __init__(self) -> None:
        self.termination_requested = False
        self._supervision: Supervision | None = None
        self._interrupts = False
        for number in END_SIGNALS:
            signal.signal(number, self._arrived)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by a shell before, it would hide exit codes
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise Terminated in the block as soon as one arrives, or at once when one has."""
        try:
            self._interrupts = True
            if self.termination_requested:
                raise Terminated
            yield
        finally:
            self._interrupts = False

    @contextmanager
    def handed_to(self, supervision: Supervision) -> Iterator[None]:
        """Let *supervision* have what arrives in the block."""
        self._supervision = supervision
        if self.termination_requested:  # after the last look, and before it was known to whom to give it
            supervision.terminate()
        try:
            yield
        finally:
            self._supervision = None

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.termination_requested = True
        if self._supervision is not None:
            self._supervision.terminate()
        elif self._interrupts:
            self._interrupts = False  # once: what is being cleared up meanwhile is not to be disturbed
            raise Terminated
