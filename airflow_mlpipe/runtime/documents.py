"""Files that are either whole or absent, and files that grow by whole lines."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write *path* so that a reader finds the old text or the new one, never a part."""
    os.replace(_temporary(path, text), path)  # noqa: PTH105


def write_once(path: Path, text: str) -> bool:
    """Write *path* durably unless it exists; return whether this call wrote it."""
    temporary = _temporary(path, text, durable=True)
    try:
        os.link(temporary, path)  # unlike a rename, a link never replaces
    except FileExistsError:
        return False
    except OSError:  # a filesystem without hard links: the supervisor's lock keeps other writers away
        if path.exists():
            return False
        temporary.rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return True


def append_line(path: Path, text: str, what: str) -> None:
    """Add *text*, one line in ASCII, to *path*; several processes may do so at once.

    Raises OSError, in which *what* names the line, when the disk has no room for it.
    """
    line = text.encode("ascii") + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        written = os.write(descriptor, line)  # one call: lines of several processes never mix
    finally:
        os.close(descriptor)
    if written < len(line):
        raise OSError(f"{what} was written in part only to {path}; is the disk full?")


def _temporary(path: Path, text: str, *, durable: bool = False) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf8") as stream:
        stream.write(text)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    return temporary
