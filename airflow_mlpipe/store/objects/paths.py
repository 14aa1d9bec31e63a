"""Paths at and below a place, which services tell only by the letters that paths begin with."""

from __future__ import annotations


def is_at(name: str, path: str) -> bool:
    """Whether *name* is *path* or lies below it."""
    return name == path or name.startswith(f"{path}/")
