"""``airflow mlpipe explain``: why a step ran, told to people."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_document, printable
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.explaining.explain import explain
from airflow_mlpipe.pipeline.explaining.explanation import Baseline, Cause, Change, Choice, Explanation
from airflow_mlpipe.pipeline.explaining.instances import Instances, instances_of
from airflow_mlpipe.reuse.phrases import full, listing

_CHOSEN: dict[Choice, str] = {
    "asked": "",
    "nearest": ", the earlier run that differs least",
    "latest": ", the run before",
    "producer": ", which made the outputs",
}
_LONG = 100
_INSTANCE = re.compile(r"(.+)\[(\d{1,9})\]")


@command
def run(args: Namespace) -> None:
    """Explain one task instance, or tell of all instances of a mapped task what each did."""
    task_id, map_index = _instance(args.task_id, args.map_index)
    try:
        explanation = explain(args.dag_id, args.run_id, task_id, map_index, against=args.against)
    except NotFoundError:
        if map_index >= 0 or args.against is not None:
            raise
        with suppress(NotFoundError):
            found = instances_of(args.dag_id, args.run_id, task_id)
            print_document(found.as_document(), args.output, text_of_all(found))
            return
        raise
    print_document(explanation.as_document(), args.output, text_of(explanation))


def _instance(task: str, map_index: int) -> tuple[str, int]:
    """The task id and the map index of ``task`` or ``task[index]``."""
    named = _INSTANCE.fullmatch(task)
    return (named[1], int(named[2])) if named is not None else (task, map_index)


def text_of_all(found: Instances) -> str:
    """All instances of a mapped step: how many did what, and why."""
    return printable("\n".join([f"{found.step}: {found.sentence()}", "", *found.reasons()]))


def text_of(explanation: Explanation) -> str:
    """The explanation as a person would write it: the verdict first, then what it rests on."""
    return printable("\n".join(_lines(explanation)))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield explanation.verdict
    if explanation.record.status == "succeeded" and not explanation.record.sealed:
        yield "Its outputs were not kept for reuse."
    if explanation.took is not None:
        yield explanation.took
    yield ""
    if explanation.baseline is None:
        yield "There is no earlier run to compare it with."
        return
    yield _compared(explanation.baseline)
    if explanation.note is not None:
        yield f"They cannot be compared: {explanation.note}."
        return
    for change in explanation.changes:
        yield ""
        yield from _change(change)
    if explanation.roots:
        yield ""
        yield "It began with:"
        yield from (f"  {root}" for root in explanation.roots)
    yield ""
    same = listing(explanation.equal_parts, len(explanation.equal_parts)) or "nothing"
    yield f"Equal: {same}." if explanation.changes else f"Nothing differs: {same} are equal."


def _compared(baseline: Baseline) -> str:
    who = (
        baseline.instance
        or f"an earlier recipe, {baseline.fingerprint[:8]}, of which no run is known any more"
    )
    return f"Compared with {who}{_CHOSEN[baseline.choice] if baseline.instance else ''}."


def _change(change: Change) -> Iterator[str]:
    yield from _headline(change)
    if change.versions is not None:
        yield f"  registered: {change.versions}"
    if change.dataset:
        yield f"  a dataset: {listing(change.dataset)}"
    if change.note is not None:
        yield f"  {change.note}"
    if change.code is not None:
        if change.code.names:
            yield f"  in {listing(change.code.names)}"
        yield from (f"  {line}" for line in change.code.diff.split("\n")[:-1])
        if change.code.note is not None:
            yield f"  ({change.code.note})"
    for cause in change.causes:
        yield from (f"  {line}" for line in _cause(cause))


def _headline(change: Change) -> Iterator[str]:
    difference = change.difference
    sentence = difference.sentence(full)
    if len(sentence) <= _LONG or difference.change != "changed":
        yield sentence
        return
    yield f"{difference.noun} changed:"
    yield f"  from {full(difference.old)}"
    yield f"  to   {full(difference.new)}"


def _cause(cause: Cause) -> Iterator[str]:
    before = "" if cause.before is None or cause.before == cause.made_by else f" (before: by {cause.before})"
    yield f"{cause.output} was made by {cause.made_by}{before}"
    if cause.note is not None:
        yield f"  {cause.note}"
    for change in cause.changes:
        yield from (f"  {line}" for line in _change(change))
