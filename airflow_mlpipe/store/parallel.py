"""Work on several threads whose results come in the order of what they are made from."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8
_AHEAD = 2


class Stopped(Exception):
    """Raised inside work that nobody waits for any more."""


def default_threads() -> int:
    """As many threads as this process has processors, up to eight."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST, len(os.sched_getaffinity(0)))
    return min(_MOST, os.cpu_count() or 1)


def in_order(
    work: Callable[[T, Callable[[], None]], R], items: Iterable[T], threads: int
) -> Generator[R, None, None]:
    """``work(item, checkpoint)`` for each of *items*; results in the order of the items.

    Two items a thread are taken ahead of the result that is waited for. The first error, in order of the
    items, is raised. Then, and when the iterator is closed, no more work is begun, and what is under way is
    waited for; it should call *checkpoint* now and then, which ends it.
    """
    if threads == 1:
        yield from (work(item, lambda: None) for item in items)
        return
    stopped = threading.Event()

    def checkpoint() -> None:
        if stopped.is_set():
            raise Stopped

    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mlpipe")
    try:
        for item in items:
            pending.append(pool.submit(work, item, checkpoint))
            if len(pending) > _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
