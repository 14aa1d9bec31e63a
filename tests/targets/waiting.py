"""Waiting for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# So late that a busy machine is not to blame. A test that passes never waits for it.
LATEST_SECONDS = 180.0

Found = TypeVar("Found")


def wait_until(holds: Callable[[], Found], seconds: float = LATEST_SECONDS) -> Found:
    """What *holds* returns, once it is true; it has to be after *seconds*."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"it did not happen in {seconds:g} s"
        time.sleep(0.02)
    return found
