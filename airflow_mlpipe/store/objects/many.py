"""Deleting objects of a service that takes one by a request: many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

_AT_A_TIME = 64


async def each_of(delete: Callable[[str], Awaitable[None]], paths: Iterable[str]) -> None:
    """Call *delete* for each of *paths*; one that is gone already is fine.

    Raises what *delete* raises for the first that could not be deleted, when all have been tried.
    """
    permits = asyncio.Semaphore(_AT_A_TIME)

    async def delete_one(path: str) -> None:
        async with permits:
            with suppress(FileNotFoundError):
                await delete(path)

    for outcome in await asyncio.gather(*map(delete_one, paths), return_exceptions=True):
        if outcome is not None:
            raise outcome
