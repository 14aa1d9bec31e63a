"""Progress of long work on bytes, said now and then in a sentence."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

_PAUSE = 5.0
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_SIZE = re.compile(rf"(\d+(?:\.\d+)?) *({'|'.join(_UNITS)})")


class Progress:
    """Says how far some work has come, at most every five seconds, so never for work shorter than that.

    ``Progress("hashing raw", log.info)`` says "hashing raw: 1.2 GB of 8.0 GB (15 %)". *clock* counts
    seconds and never goes back.
    """

    def __init__(
        self, what: str, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._say = say
        self._clock = clock
        self._done = 0
        self._total: int | Callable[[], int] = 0
        self._said_at = clock()

    @classmethod
    def silent(cls) -> Progress:
        """Progress that nobody is told."""
        return cls("", lambda sentence: None)

    def expect(self, total: int | Callable[[], int]) -> None:
        """Announce how many bytes there are in all, and start counting anew.

        A total that is dear to find is given as a function; it is called when something is first said.
        """
        self._total, self._done = total, 0

    def advance(self, size: int) -> None:
        """Count *size* more bytes as done."""
        self._done += size
        now = self._clock()
        if now - self._said_at >= _PAUSE:
            self._said_at = now
            self._say(f"{self._what}: {self._amount()}")

    def _amount(self) -> str:
        if callable(self._total):
            self._total = self._total()
        if not self._total:
            return readable_size(self._done)
        percent = 100 * self._done // self._total
        return f"{readable_size(self._done)} of {readable_size(self._total)} ({percent} %)"


def readable_size(size: int) -> str:
    """*size* bytes for people, in decimal units: ``999 B``, ``1.2 GB``."""
    if size < 1000:
        return f"{size} B"
    amount, unit = float(size), 0
    # 999.95 would be printed as 1000.0 of the smaller unit.
    while amount >= 999.95 and unit < len(_UNITS) - 1:
        amount /= 1000
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}"


def parse_size(text: str) -> int | None:
    """The bytes of an amount such as ``500 MB`` or ``2TB``; None when *text* is none."""
    match = _SIZE.fullmatch(text.strip())
    size = float(match[1]) * 1000 ** _UNITS.index(match[2]) if match else math.nan
    return int(size) if math.isfinite(size) else None
