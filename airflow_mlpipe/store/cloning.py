"""Copies of files that take no time and no room where the disk can share their blocks."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

# Linux: let one file have the blocks of another until either is written to (btrfs, XFS).
_FICLONE = 0x40049409


def clone(source: Path, target: Path) -> None:
    """Make the new file *target*, writable and not executable, with the bytes of *source*. Raises OSError."""
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfile(source, target)
