"""``airflow mlpipe runs``: what the steps of a DAG decided and made, newest first."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_rows
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.explaining.instances import Instances, in_groups, outcome_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import indexes, span
from airflow_mlpipe.store.run_record import RunRecord, RunRecords

_COLUMNS = ("run", "task", "what", "why", "age", "seconds", "sealed", "fingerprint")
_WHY = 60


@command
def run(args: Namespace) -> None:
    """List the records of a DAG, or of one of its tasks; a table has one row for all instances of a run."""
    stores = Stores.open(Settings.read())
    records = RunRecords(stores.own).below(args.dag_id)
    wanted = (record for record in records if args.task_id in (None, record.task_id))
    newest = sorted(wanted, key=lambda record: record.decided_at, reverse=True)
    if not newest:
        what = args.dag_id if args.task_id is None else f"{args.dag_id}, task {args.task_id}"
        raise NotFoundError(f"no run of {what} is recorded in {stores.own.url}")
    limit = args.limit or None
    if args.output == "table":
        print_rows([_row(group) for group in in_groups(newest)[:limit]], args.output, columns=_COLUMNS)
    else:
        print_rows([record.model_dump(mode="json") for record in newest[:limit]], args.output)


def _row(records: tuple[RunRecord, ...]) -> dict[str, Any]:
    """A task instance, or the instances of a mapped task in one run."""
    last = max(records, key=lambda record: record.decided_at)
    mapped = [record.map_index for record in records if record.map_index >= 0]
    ran = [record.seconds for record in records if record.seconds is not None]
    sealed = dict.fromkeys("yes" if record.sealed else "no" for record in records)
    found = Instances(records)
    return {
        "run": last.run_id,
        "task": f"{last.task_id}{indexes(mapped, 3)}",
        "what": outcome_of(last) if len(records) == 1 else found.sentence(),
        "why": _cut(last.why if len(records) == 1 else next(found.reasons())),
        "age": span(max(0.0, time.time() - last.decided_at)),
        "seconds": span(sum(ran)) if ran else None,
        "sealed": ", ".join(sealed),
        "fingerprint": last.fingerprint[:12] if len(records) == 1 else None,
    }


def _cut(why: str) -> str:
    return why if len(why) <= _WHY else f"{why[: _WHY - 3]}..."
