"""The log of an attempt as a file on this machine: followed while it grows, and its last lines."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from airflow_mlpipe.targets.log_lines import LogLines

FASTEST_POLL_SECONDS = 0.01
SLOWEST_POLL_SECONDS = 0.25
CHUNK_BYTES = 64 * 1024
LAST_LINES = 20
LAST_LINE_LENGTH = 500


def followed(
    path: Path, offset: int, is_running: Callable[[], bool], wait: Callable[[float], object]
) -> Iterator[str]:
    """The lines of the file at *path* from byte *offset*, as they come, until its writer no longer runs.

    They are those of LogLines; none when there is no file. *wait* returns after some seconds, or earlier
    when there may be news.
    """
    lines = LogLines()
    interval = FASTEST_POLL_SECONDS
    try:
        log = path.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with log:
        log.seek(offset)
        while True:
            has_ended = not is_running()  # asked first: what comes after is read below
            interval = min(1.5 * interval, SLOWEST_POLL_SECONDS)
            while chunk := log.read(CHUNK_BYTES):
                yield from lines.feed(chunk)
                interval = FASTEST_POLL_SECONDS
            if has_ended:
                break
            wait(interval)
    yield from lines.close()


def last_lines(path: Path) -> list[str]:
    """The end of a log that nobody writes to any more, oldest first; long lines are cut."""
    with contextlib.suppress(OSError), path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - CHUNK_BYTES))
        return last_of(log.read(CHUNK_BYTES))
    return []


def last_of(output: bytes) -> list[str]:
    """The last lines of *output*, oldest first; long ones are cut."""
    lines = LogLines()
    return [
        line[:LAST_LINE_LENGTH] for line in deque((*lines.feed(output), *lines.close()), maxlen=LAST_LINES)
    ]


def last_words(lines: list[str]) -> str:
    """*lines* as the end of an error's message; "" when there are none."""
    return "; its last words:\n" + "\n".join(lines) if lines else ""
