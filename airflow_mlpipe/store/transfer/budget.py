"""A bound on what is held in memory at once."""

from __future__ import annotations

import threading


class Budget:
    """*size* bytes that threads share; what is larger than all of it is had alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._freed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until *size* bytes are free, and take them."""
        wanted = min(size, self._size)
        with self._freed:
            self._freed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted

    def give_back(self, size: int) -> None:
        """Free what was taken for *size* bytes."""
        with self._freed:
            self._left += min(size, self._size)
            self._freed.notify_all()
