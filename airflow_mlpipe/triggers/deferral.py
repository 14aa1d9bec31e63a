"""When a deferred task may run again."""

from __future__ import annotations

import asyncio
import time

from airflow.sdk.configuration import conf

# What a scheduler may take to hear from its executor that a process has ended.
_HEARING_SECONDS = 4.0


def resume_seconds() -> float:
    """How long after a task was deferred Airflow may not yet know that its process has ended.

    A task that runs again by then is failed by Airflow 3.3: the end of the first process, told late, is taken
    for that of the second (apache/airflow issue 72716). Whoever supervises a process may notice its end only
    with the next heartbeat.
    """
    return float(conf.getint("workers", "min_heartbeat_interval", fallback=5)) + _HEARING_SECONDS


async def task_may_resume(began: float) -> None:
    """Return when a trigger that began to run at *began*, a time of ``time.monotonic``, may fire."""
    left = began + resume_seconds() - time.monotonic()
    if left > 0:
        await asyncio.sleep(left)
