"""Files and folders that appear on a local disk all at once, or not at all. Every function raises OSError."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX, _SUFFIX = ".mlpipe-", ".tmp"


def is_temporary(name: str) -> bool:
    """Whether *name* is that of a file or folder still being written, or left by a killed process."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def temporary_name() -> str:
    """A new name that :func:`is_temporary` recognises."""
    return f"{_PREFIX}{uuid.uuid4().hex}{_SUFFIX}"


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A free path in the folder of *path*, which is made when there is none; removed when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name()
    try:
        yield temporary
    finally:
        remove(temporary)


@contextmanager
def arriving(destination: Path) -> Iterator[Path]:
    """A free path beside *destination*; what the block leaves there becomes *destination* at the end.

    A file replaces a file, a folder replaces an empty folder. When the block fails, *destination* stays as
    it was.
    """
    with temporary_beside(destination) as temporary:
        yield temporary
        temporary.replace(destination)


def write_through(path: Path, data: bytes) -> None:
    """Create the file *path* with *data*, and return when the disk has them."""
    try:
        file = path.open("xb")
    except FileNotFoundError:
        # Empty folders are garbage to be collected: this one may have been, a moment ago.
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    with file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove the file, link or folder at *path*; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
