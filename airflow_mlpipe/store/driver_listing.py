"""Listing what lies below a folder of a server, all of it or not at all.

The drivers' own walks leave out a folder that cannot be listed, so that its files would count as gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_mlpipe.store.patterns import matches

Entry = tuple[str, Mapping[str, Any]]
"""What a driver calls a file, link or folder, and what it says of it."""


def files_below(
    driver: Any, folder: str, parts: Sequence[str] = ("**",), *, folders: bool = False
) -> Iterator[Entry]:
    """What is below *folder* and, unless *folders* are wanted too, no folder; none when that is not there.

    *parts* of a pattern spare looking into folders that do not match; what is found may still not match.
    Raises what *driver* raises when any folder cannot be listed.
    """
    if parts[0] == "**" and _lists_at_once(driver):
        yield from driver.find(folder, detail=True, withdirs=folders).items()
        return
    try:
        entries = driver.ls(folder, detail=True)
    except FileNotFoundError:
        return
    for info in entries:
        name = info["name"].rstrip("/")
        if info["type"] != "directory":
            yield info["name"], info
            continue
        if name == folder.rstrip("/"):
            continue  # an object that only stands for the folder
        if folders:
            yield name, info
        if parts[0] == "**":
            yield from files_below(driver, name, parts, folders=folders)
        elif len(parts) > 1 and matches(name.rpartition("/")[2], parts[0]):
            yield from files_below(driver, name, parts[1:], folders=folders)


def _lists_at_once(driver: Any) -> bool:
    """Whether *driver* has a way of its own to list everything below a folder, and does not walk."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    if isinstance(driver, AsyncFileSystem):
        return type(driver)._find is not AsyncFileSystem._find
    return type(driver).find is not AbstractFileSystem.find
