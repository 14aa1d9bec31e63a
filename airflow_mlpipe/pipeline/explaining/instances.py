"""What the instances of a mapped step decided in one run, told together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import by_reason
from airflow_mlpipe.store.run_record import RunRecord, RunRecords

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Instances:
    """The records of the instances of one mapped step in one run, by map index; at least one."""

    records: tuple[RunRecord, ...]

    @property
    def step(self) -> str:
        """The mapped step as ``dag/run/task``."""
        return str(self.records[0].instance.model_copy(update={"map_index": -1}))

    @property
    def counts(self) -> dict[str, int]:
        """How many instances there are of each outcome: ``reused``, ``ran``, ``failed``, ``running``."""
        return dict(Counter(map(outcome_of, self.records)).most_common())

    def sentence(self) -> str:
        """The counts in a few words: ``197 reused, 3 ran``."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())

    def reasons(self) -> Iterator[str]:
        """Which instances had which reason, those that ran first."""
        for _, alike in groupby(sorted(self.records, key=_by_outcome), key=outcome_of):
            yield from by_reason((record.map_index, _alike(record), record.sentence()) for record in alike)

    def as_document(self) -> dict[str, Any]:
        """All of it as JSON."""
        first = self.records[0]
        return {
            "schema_version": SCHEMA_VERSION,
            "dag_id": first.dag_id,
            "run_id": first.run_id,
            "task_id": first.task_id,
            "counts": self.counts,
            "instances": [record.model_dump(mode="json") for record in self.records],
        }


def instances_of(dag_id: str, run_id: str, task_id: str, stores: Stores | None = None) -> Instances:
    """The instances of a mapped task that have left a readable record.

    *stores* are those of the deployment unless given. Raises NotFoundError when there are none, StoreError
    when a store fails, DefinitionError for a wrong configuration.
    """
    stores = Stores.open(Settings.read()) if stores is None else stores
    records = RunRecords(stores.own).below(dag_id, run_id, task_id)
    found = sorted((record for record in records if record.map_index >= 0), key=lambda one: one.map_index)
    if not found:
        raise NotFoundError(f"{dag_id}/{run_id}/{task_id} has no records of mapped instances")
    return Instances(tuple(found))


def in_groups(records: Iterable[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """The records, those of the instances of one mapped step in one run together, by map index.

    A group has the place of the first of its records.
    """
    groups: dict[object, list[RunRecord]] = {}
    for record in records:
        of = record.run_id, record.task_id
        groups.setdefault(of if record.map_index >= 0 else (*of, record.map_index), []).append(record)
    return [tuple(sorted(group, key=lambda record: record.map_index)) for group in groups.values()]


def outcome_of(record: RunRecord) -> str:
    """What came of a task instance: how it succeeded, or its status."""
    return record.action if record.status == "succeeded" else record.status


def _by_outcome(record: RunRecord) -> tuple[bool, str]:
    return record.action == "reused", outcome_of(record)


def _alike(record: RunRecord) -> object:
    """Equal for instances that one of them tells of well enough: each reuse names outputs of its own."""
    return record.action if record.action == "reused" else record.why
