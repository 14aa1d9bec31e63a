"""``airflow mlpipe runs``: what the steps of a DAG decided and made, newest first."""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_rows
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import span
from airflow_mlpipe.store.run_record import RunRecord, RunRecords

_COLUMNS = ("run", "task", "what", "why", "age", "seconds", "sealed", "fingerprint")
_WHY = 60


@command
def run(args: Namespace) -> None:
    """List the records of a DAG, or of one of its tasks."""
    stores = Stores.open(Settings.read())
    records = RunRecords(stores.own).below(args.dag_id)
    wanted = (record for record in records if args.task_id in (None, record.task_id))
    newest = sorted(wanted, key=lambda record: record.decided_at, reverse=True)
    if not newest:
        what = args.dag_id if args.task_id is None else f"{args.dag_id}, task {args.task_id}"
        raise NotFoundError(f"no run of {what} is recorded in {stores.own.url}")
    _print(itertools.islice(newest, args.limit or None), args.output)


def _print(records: Iterable[RunRecord], output: str) -> None:
    if output == "table":
        print_rows([_row(record) for record in records], output, columns=_COLUMNS)
    else:
        print_rows([record.model_dump(mode="json") for record in records], output)


def _row(record: RunRecord) -> dict[str, Any]:
    index = "" if record.map_index < 0 else f"[{record.map_index}]"
    why = record.why
    return {
        "run": record.run_id,
        "task": f"{record.task_id}{index}",
        "what": record.action if record.status == "succeeded" else record.status,
        "why": why if len(why) <= _WHY else f"{why[: _WHY - 3]}...",
        "age": span(max(0.0, time.time() - record.decided_at)),
        "seconds": None if record.seconds is None else span(record.seconds),
        "sealed": "yes" if record.sealed else "no",
        "fingerprint": record.fingerprint[:12],
    }
