"""``airflow mlpipe plan``: what a run would do with each step, and why, without running anything."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Hashable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from airflow.utils.cli import suppress_logs_and_warning

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.dags import dag_in_file, find_dag
from airflow_mlpipe.cli.output import print_document, print_rows
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.costs import Expense
from airflow_mlpipe.pipeline.planning.plan import Plan, PlannedStep
from airflow_mlpipe.pipeline.planning.planner import plan
from airflow_mlpipe.reuse.phrases import by_reason, listing

SOMETHING_TO_DO = 3


@command
@suppress_logs_and_warning
def run(args: Namespace) -> None:
    """Plan the DAG and print the plan."""
    conf = _conf(args.conf)
    if args.dag_file is not None:
        dag = dag_in_file(args.dag_id, Path(args.dag_file))
    else:
        dag = find_dag(args.dag_id, args.bundle_name or ())
    planned = plan(dag, conf, logical_date=args.logical_date)
    if args.output == "table" and planned.steps:
        print_rows(list(rows_of(planned)), args.output)
    print_document(planned.as_document(), args.output, f"{planned.summary()}.")
    if args.exit_code and not planned.runs_nothing:
        raise SystemExit(SOMETHING_TO_DO)


def _conf(text: str | None) -> dict[str, Any]:
    try:
        conf = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f"--conf is not JSON: {error}") from error
    if not isinstance(conf, dict):
        raise DefinitionError(f'--conf is {text}; it must be an object such as {{"lr": 0.1}}')
    return conf


def rows_of(planned: Plan) -> Iterator[dict[str, str]]:
    """A row of text for each step; instances of a mapped one share a row for each action."""
    for task_id, instances in groupby(planned.steps, key=lambda step: step.task_id):
        steps = list(instances)
        for action in ("reuse", "run", "unknown"):
            if chosen := [step for step in steps if step.action == action]:
                yield _row(task_id, chosen, len(steps))


def _row(task_id: str, chosen: list[PlannedStep], of: int) -> dict[str, str]:
    first = chosen[0]
    saved = sum((Expense(step.saved_seconds or 0.0, step.saved_cost) for step in chosen), Expense())
    mapped = first.map_index >= 0
    instances = ((step.map_index, _alike(step), step.reason) for step in chosen)
    why = by_reason(instances) if mapped else [first.reason]
    pins = dict.fromkeys(pin for step in chosen for pin in step.pins.values())
    return {
        "task": task_id,
        "action": f"{first.action} {len(chosen)} of {of}" if mapped else first.action,
        "why": "\n".join([*why, *([f"reads {listing([*pins])}"] if pins else [])]),
        "saves": str(saved) if saved.seconds else "",
    }


def _alike(step: PlannedStep) -> Hashable:
    """Equal for instances of a mapped step that one of them tells of well enough."""
    # Each reuse names outputs of its own.
    return step.waits_for, "reuse" in (step.action, step.expected_action) or step.reason
