"""Patterns of paths, with the one meaning that they have on disks, on servers and in outputs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(path: str, pattern: str) -> bool:
    """Whether the posix *path* matches a glob: ``*``, ``?`` and ``[]`` stay within one name.

    ``**`` stands for any number of folders, none included. A name that starts with a dot is matched only by a
    part of the pattern that does, too.
    """
    return _match(path.split("/"), pattern.split("/"))


def _match(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        if len(parts) == 1:
            return not any(name.startswith(".") for name in names)
        return _match(names, parts[1:]) or (not names[0].startswith(".") and _match(names[1:], parts))
    is_hidden = names[0].startswith(".") and not parts[0].startswith(".")
    return not is_hidden and fnmatchcase(names[0], parts[0]) and _match(names[1:], parts[1:])
