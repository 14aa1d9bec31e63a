"""Credentials that a step's process was handed, for the data that it reads by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_mlpipe.access import Access, as_it_is, resolve_with
from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import CREDENTIALS_VARIABLE, HandedCredentials, from_json

_CHUNK = 64 * 1024


def install() -> None:
    """Let this process open the data that it was handed credentials for; nothing when it was handed none.

    Any number of calls is fine. A child that inherits no descriptors was handed none.
    """
    if (handed := _handed()) is not None:
        resolve_with(lambda url: access_to(url, handed))


def access_to(url: str, handed: HandedCredentials) -> Access:
    """How to open *url*, with the options of the nearest folder that was *handed*; raises as ``as_it_is``."""
    for folder in _upwards(url):
        if (position := handed.urls.get(folder)) is not None:
            return Access(url, handed.options[position])
    return as_it_is(url)


def narrowed(handed: HandedCredentials, urls: Iterable[str]) -> HandedCredentials:
    """Of what was *handed*, only what opens *urls*."""
    positions: dict[str, int] = {}
    options: list[dict[str, Any]] = []
    for url in urls:
        if found := dict(access_to(url, handed).options):
            if found not in options:
                options.append(found)
            positions[url.rstrip("/")] = options.index(found)
    return HandedCredentials(positions, options)


def _upwards(url: str) -> Iterator[str]:
    """*url* without a slash at its end, and the folders that it lies in."""
    place = url.rstrip("/")
    while "://" in place:
        yield place
        place = place.rpartition("/")[0].rstrip("/") if "/" in place.partition("://")[2] else ""


def _handed() -> HandedCredentials | None:
    try:
        return from_json(HandedCredentials, _read(int(os.environ[CREDENTIALS_VARIABLE])))
    except (KeyError, ValueError, OSError, DocumentError):
        # In a child that was started anew the descriptor is closed, or another file's.
        return None


def _read(descriptor: int) -> bytes:
    """All of the file, whoever read how much of it before."""
    content = b""
    while chunk := os.pread(descriptor, _CHUNK, len(content)):
        content += chunk
    return content
