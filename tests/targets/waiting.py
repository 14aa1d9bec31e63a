"""Waiting for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# So late that a busy machine is not to blame. A test that passes never waits for it.
LATEST_SECONDS = 180.0

Found = TypeVar("Found")


def wait_until(holds: Callable[[], Found]) -> Found:
    """What *holds* returns, once it is true."""
    deadline = time.monotonic() + LATEST_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, f"it did not happen in {LATEST_SECONDS:g} s"
        time.sleep(0.02)
    return found
