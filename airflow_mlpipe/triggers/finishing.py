"""Finishing in an event loop what a cancellation must not cut short."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def finished(work: asyncio.Future[T]) -> T:
    """The result of *work*, which goes on when the caller is cancelled, as often as that may be.

    The caller's cancellation is raised once *work* is over. It may come more than once: when a triggerer
    stops, all tasks are cancelled, so that one which another waits for is cancelled by both; and a task that
    somebody marked has its trigger cancelled each second. What ``run_in_executor`` returns is no task.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError as error:
            cancelled = cancelled or error  # the first one tells why
        except Exception:
            break  # of the work itself: result() raises it below
    if cancelled is not None:
        raise cancelled
    return work.result()
