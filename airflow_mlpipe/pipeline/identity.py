"""Which task instance is running, and the names that follow from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.reuse.canonical import digest


@dataclass(frozen=True)
class TaskIdentity:
    """A try of a task instance. ``map_index`` is -1 when the task is not mapped.

    ``run_began`` tells apart the runs of two deployments that have the same DAG, and so the same run ids.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    instance_id: str
    run_began: str = ""

    @classmethod
    def of(cls, context: Any) -> TaskIdentity:
        """The identity of the task that *context* belongs to."""
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        began = getattr(context["dag_run"], "start_date", None)
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.try_number, str(ti.id), str(began or ""))

    @property
    def producer(self) -> ProducerReference:
        return ProducerReference(
            dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index
        )

    @property
    def owner(self) -> str:
        """Who holds a lease: the task instance, whichever its try."""
        return f"{self.producer} (run begun {self.run_began})" if self.run_began else str(self.producer)

    @property
    def attempt(self) -> str:
        """The id of what this try does.

        Airflow gives every try an id of its own. With it, a run that was deleted and made again under the
        same name never meets the remains of its predecessor.
        """
        everything = [self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number]
        readable = re.sub(r"[^A-Za-z0-9]+", "-", self.task_id).strip("-")[:40] or "step"
        return f"{readable}-{digest([*everything, self.instance_id])[:24]}"


def successor(attempt: str, number: int) -> str:
    """The id of the attempt after *number* that the target lost in one try; *attempt* was the first."""
    return f"{attempt}.{number}" if number else attempt


def first_of(attempt: str) -> str:
    """The id of the first attempt of the try that *attempt* belongs to: the one that leases know."""
    return attempt.partition(".")[0]  # the ids of first attempts have no dot
