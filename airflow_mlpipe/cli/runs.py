"""``airflow mlpipe runs``: what the steps of a DAG decided and made, newest first."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_rows, print_text
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.costs import Balance
from airflow_mlpipe.pipeline.explaining.instances import Instances, in_groups, outcome_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import amount, indexes, span
from airflow_mlpipe.store.run_record import RunRecord, RunRecords

_COLUMNS = ("run", "task", "what", "why", "age", "seconds", "cost", "sealed", "fingerprint")
_WHY = 60


@command
def run(args: Namespace) -> None:
    """List the records of a DAG, or of one of its tasks.

    A table has one row for all instances of a run, and the sums of each run below.
    """
    stores = Stores.open(Settings.read())
    records = RunRecords(stores.own).below(args.dag_id)
    wanted = (record for record in records if args.task_id in (None, record.task_id))
    newest = sorted(wanted, key=lambda record: record.decided_at, reverse=True)
    if not newest:
        what = args.dag_id if args.task_id is None else f"{args.dag_id}, task {args.task_id}"
        raise NotFoundError(f"no run of {what} is recorded in {stores.own.url}")
    limit = args.limit or None
    if args.output == "table":
        groups = in_groups(newest)[:limit]
        print_rows([_row(group) for group in groups], args.output, columns=_COLUMNS)
        print_text("\n".join(["", *_balances(newest, [group[0].run_id for group in groups])]))
    else:
        print_rows([record.model_dump(mode="json") for record in newest[:limit]], args.output)


def _row(records: tuple[RunRecord, ...]) -> dict[str, Any]:
    """A task instance, or the instances of a mapped task in one run."""
    last = max(records, key=lambda record: record.decided_at)
    mapped = [record.map_index for record in records if record.map_index >= 0]
    ran = [record.seconds for record in records if record.seconds is not None]
    costs = [record.cost for record in records if record.cost is not None]
    sealed = dict.fromkeys("yes" if record.sealed else "no" for record in records)
    found = Instances(records)
    return {
        "run": last.run_id,
        "task": f"{last.task_id}{indexes(mapped, 3)}",
        "what": outcome_of(last) if len(records) == 1 else found.sentence(),
        "why": _cut(last.why if len(records) == 1 else next(found.reasons())),
        "age": span(max(0.0, time.time() - last.decided_at)),
        "seconds": span(sum(ran)) if ran else None,
        "cost": amount(sum(costs)) if costs else None,
        "sealed": ", ".join(sealed),
        "fingerprint": last.fingerprint[:12] if len(records) == 1 else None,
    }


def _balances(records: Iterable[RunRecord], runs: Iterable[str]) -> Iterator[str]:
    """What each of *runs* took, in a sentence."""
    of_run: dict[str, list[RunRecord]] = {run_id: [] for run_id in runs}
    for record in records:
        if record.run_id in of_run:
            of_run[record.run_id].append(record)
    return (f"{run_id}: {Balance.of(found).sentence()}" for run_id, found in of_run.items())


def _cut(why: str) -> str:
    return why if len(why) <= _WHY else f"{why[: _WHY - 3]}..."
