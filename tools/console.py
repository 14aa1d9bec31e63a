"""Progress lines for people: plain text, one event a line, each with the seconds since the program began."""

from __future__ import annotations

import sys
import time

_began = time.monotonic()


def say(text: str) -> None:
    """Print *text* behind the seconds since the program began; visible at once, also through a pipe."""
    show(f"[{elapsed():5.0f} s] {text}")


def show(text: str = "") -> None:
    """Print *text* as it is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def elapsed() -> float:
    """Seconds since the program began."""
    return time.monotonic() - _began
