"""Files that are either whole or absent."""

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


def _temporary(path: Path, text: str, *, durable: bool = False) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf8") as stream:
        stream.write(text)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    return temporary
