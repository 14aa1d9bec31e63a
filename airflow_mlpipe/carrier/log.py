"""The log of an attempt, which is shown on standard output as it grows."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO

_CHUNK = 64 * 1024


class AttemptLog:
    """``log.txt`` at *path*: what the step prints, and in between what the carrier has to say.

    What is *shown* is the same, byte by byte, as long as somebody wants to see it.
    """

    def __init__(self, path: Path, shown: BinaryIO | None = None) -> None:
        self.path = path
        self._shown = sys.stdout.buffer if shown is None else shown
        self._is_wanted = True
        self._offset = 0
        self._lock = threading.Lock()

    def say(self, sentence: str) -> None:
        """Add a line of the carrier's own; where there can be no log, it is shown only.

        May be called by any thread.
        """
        line = f"mlpipe-carrier: {' '.join(sentence.split())}\n".encode()
        with self._lock:
            try:
                self._append(line)
                self._show()
            except OSError:
                self._write(line)

    def show(self) -> bool:
        """Show what was added since the last call; whether there was anything. Raises OSError."""
        with self._lock:
            return self._show()

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as log:
            size = log.seek(0, os.SEEK_END)
            is_inside_a_line = size and os.pread(log.fileno(), 1, size - 1) != b"\n"
            log.write(b"\n" + line if is_inside_a_line else line)

    def _show(self) -> bool:
        before = self._offset
        try:
            log = self.path.open("rb")
        except FileNotFoundError:
            return False
        with log:
            log.seek(self._offset)
            while chunk := log.read(_CHUNK):
                self._offset += len(chunk)
                self._write(chunk)
        return self._offset > before

    def _write(self, data: bytes) -> None:
        if not self._is_wanted:
            return
        try:
            self._shown.write(data)
            self._shown.flush()
        except OSError:  # nobody reads it any more, which is no reason for a step to end
            self._is_wanted = False
