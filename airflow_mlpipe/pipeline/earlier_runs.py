"""What the steps that began before this one logged: for scripts that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.lookup import readable_manifest
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.records import EarlierRun, EarlierRuns
from airflow_mlpipe.runtime.metrics import CollectedMetrics, collected_from
from airflow_mlpipe.store.layout import metrics_key
from airflow_mlpipe.store.run_record import RunRecord, RunRecords, RunStatus

_STATUS: dict[RunStatus, Literal["Running", "Completed", "Failed"]] = {
    "running": "Running",
    "succeeded": "Completed",
    "failed": "Failed",
    "marked": "Completed",
}


def earlier_runs(stores: Stores, identity: TaskIdentity) -> EarlierRuns:
    """The other task instances of the DAG run of *identity* that have a record. Raises StoreError."""
    records = RunRecords(stores.own).below(identity.dag_id, identity.run_id)
    return EarlierRuns(list(_runs(stores, (record for record in records if not _is(record, identity)))))


def _is(record: RunRecord, identity: TaskIdentity) -> bool:
    return (record.task_id, record.map_index) == (identity.task_id, identity.map_index)


def _runs(stores: Stores, records: Iterator[RunRecord]) -> Iterator[EarlierRun]:
    for record in records:
        logged = _logged(stores, record)
        yield EarlierRun(
            id=record.attempt,
            name=record.task_id,
            map_index=record.map_index,
            status=_STATUS[record.status],
            started_at=record.decided_at,
            metrics=logged.metrics,
            tags=logged.tags,
            properties=logged.properties,
        )


def _logged(stores: Stores, record: RunRecord) -> CollectedMetrics:
    """What the step logged whose outputs were handed on; nothing before there are any."""
    found = readable_manifest(record.fingerprint, stores) if record.sealed else None
    if found is not None and found[1].producer.attempt == record.attempt:
        manifest = found[1]
        return CollectedMetrics(manifest.results, tags=manifest.tags, properties=manifest.properties)
    data = stores.own.read(metrics_key(record.attempt)) if record.attempt else None
    return collected_from(data or b"")
