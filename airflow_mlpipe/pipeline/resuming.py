"""When a task that has left its worker, to wait, may run again."""

from __future__ import annotations

import asyncio
import time

_HEARTBEAT_SECONDS = 5  # Airflow's own [workers] min_heartbeat_interval

# What a scheduler may take to hear from its executor that a process has ended.
_HEARING_SECONDS = 4.0

# The shortest time between two looks of a task that is rescheduled. With Airflow's own heartbeat interval:
# whether a DAG is valid does not depend on how that is set where it is parsed.
SHORTEST_RESCHEDULE_SECONDS = _HEARTBEAT_SECONDS + _HEARING_SECONDS


def resume_seconds() -> float:
    """How long after a task has left its worker Airflow may not yet know that its process has ended.

    A task that runs again by then, deferred or rescheduled, is failed by Airflow 3.3: the end of the first
    process, told late, is taken for that of the second (apache/airflow issue 72716). Whoever supervises a
    process may notice its end only with the next heartbeat.
    """
    from airflow.sdk.configuration import conf

    heartbeat = conf.getint("workers", "min_heartbeat_interval", fallback=_HEARTBEAT_SECONDS)
    return float(heartbeat) + _HEARING_SECONDS


async def task_may_resume(began: float) -> None:
    """Return when a trigger that began to run at *began*, a time of ``time.monotonic``, may fire."""
    left = began + resume_seconds() - time.monotonic()
    if left > 0:
        await asyncio.sleep(left)
