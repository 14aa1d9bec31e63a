"""A step's output cut into lines that a task log can take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

MAXIMUM_LENGTH = 10_000
UPDATE_SECONDS = 1.0

# A carriage return at the end of what is known may be half of a line end, so it is left for later.
_END = re.compile(rb"\r?\n|\r(?=[^\n])")
_MAXIMUM_BYTES = 4 * MAXIMUM_LENGTH


class LogLines:
    r"""Bytes in, lines out.

    A line ends with ``\n`` or ``\r\n``, is decoded as UTF-8 with replacement characters, and is cut at
    10,000 characters. Text that ends with a lone ``\r`` is overwritten by what follows, as a progress bar
    does it: of such updates one a second is let through, and the last one before a line end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rest = b""
        self._overwritten = b""
        self._next_update = float("-inf")

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that *data* completes."""
        data, start = self._rest + data, 0
        for end in _END.finditer(data):
            text, start = data[start : end.start()], end.end()
            if end.group() == b"\r":
                yield from self._update(text)
            else:
                yield _decode(text or self._overwritten)
                self._overwritten = b""
        rest = data[start:]
        held = b"\r" if rest.endswith(b"\r") else b""
        self._rest = rest.rstrip(b"\r")[:_MAXIMUM_BYTES] + held

    def close(self) -> Iterator[str]:
        """The last line, when nothing ended it."""
        if text := self._rest.rstrip(b"\r") or self._overwritten:
            yield _decode(text)
        self._rest = self._overwritten = b""

    def _update(self, text: bytes) -> Iterator[str]:
        if not text:
            return
        self._overwritten = text
        if (now := self._clock()) >= self._next_update:
            self._next_update = now + UPDATE_SECONDS
            self._overwritten = b""
            yield _decode(text)


def _decode(text: bytes) -> str:
    line = text[:_MAXIMUM_BYTES].decode("utf8", errors="replace")
    return line if len(line) <= MAXIMUM_LENGTH else line[: MAXIMUM_LENGTH - 1] + "…"
