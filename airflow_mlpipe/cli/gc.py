"""``airflow mlpipe gc``: deletes what nobody can use, and what is beyond the limits."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_mlpipe.cli.command import FAILED, command, say
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.pipeline.live_runs import LiveRunsUnknown, live_runs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import span
from airflow_mlpipe.store.garbage.census import Run
from airflow_mlpipe.store.garbage.collector import Collected, Collector
from airflow_mlpipe.store.garbage.limits import DAY, Garbage, Kind, Limits
from airflow_mlpipe.store.garbage.survey import Survey
from airflow_mlpipe.store.progress import Progress, readable_size

_SHOWN = 5
_NOUNS: dict[Kind, str] = {
    "outputs": "sealed outputs",
    "lease": "leases of lost workers",
    "attempt": "attempts without a manifest",
    "model": "models without a version",
    "snapshot": "code snapshots",
    "record": "run records",
    "note": "recipes and notes",
    "temporary": "temporary files",
    "folder": "empty folders",
}


@command
def run(args: Namespace) -> int | None:
    """Say what would go, or delete it; exit code 1 when something could not be deleted."""
    limits = Limits(
        grace=DAY if args.grace is None else args.grace,
        older_than=args.older_than,
        keep=args.keep,
        max_size=args.max_size,
    )
    live = _live_runs(args.grace)
    survey = Survey(Stores.open(Settings.read()).own, limits, live or (), time.time())
    collected = Collector(survey, Progress("deleting", say)).collect() if args.yes else None
    document = {
        "schema_version": 1,
        "datastore": survey.datastore.url,
        "deleted": args.yes,
        "live_runs": None if live is None else len(live),
        "outputs": {"count": len(survey.outputs), "size": sum(item.size for item in survey.outputs)},
        "in_use": sum(item.held for item in survey.outputs),
        "age_unknown": survey.ages_unknown,
        **_results(survey, collected),
    }
    print_document(document, args.output, "\n".join(_lines(survey, collected)))
    return FAILED if collected is not None and collected.failed else None


def _live_runs(grace: float | None) -> frozenset[Run] | None:
    """The DAG runs that are not over; None when nobody knows and the grace period is to do."""
    try:
        return live_runs()
    except LiveRunsUnknown as error:
        if grace is None or grace < DAY:
            raise MLPipeError(
                f"{error}; what running DAGs use is not known. If no run lasts longer, say --grace 1d or more"
            ) from error
        say(f"{error}; what was not used for {span(grace)} counts as not in use")
        return None


def _results(survey: Survey, collected: Collected | None) -> dict[str, Any]:
    if collected is None:
        return {"garbage": [_item(item) for item in survey.garbage]}
    return {
        "garbage": [_item(item) for item in collected.gone],
        "spared": [_item(item) for item in collected.spared],
        "failed": [{**_item(item), "error": why} for item, why in collected.failed],
    }


def _item(item: Garbage) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "step": item.step,
        "size": item.size,
        "last_used": item.last_used,
        "why": item.why,
    }


def _lines(survey: Survey, collected: Collected | None) -> Iterator[str]:
    shown = survey.garbage if collected is None else collected.gone
    yield from _by_kind(shown, survey.now)
    if collected is not None:
        for item in collected.spared:
            yield f"spared: {_name(item)} came into use"
        for item, why in collected.failed:
            yield f"not deleted: {_name(item)}: {why}"
    yield _total(shown, collected is not None)
    gone = {item.name for item in shown if item.kind == "outputs"}
    kept = [item for item in survey.outputs if item.fingerprint not in gone]
    in_use = sum(item.held for item in kept)
    yield (
        f"{len(kept)} sealed outputs stay, {readable_size(sum(item.size for item in kept))}"
        + (f"; {in_use} of them registered, or in use by what is not over" if in_use else "")
    )
    if survey.ages_unknown:
        yield f"{survey.ages_unknown} things stay because the store does not tell how old they are"
    if shown and collected is None:
        yield "Nothing was deleted; --yes deletes it."


def _by_kind(items: Iterable[Garbage], now: float) -> Iterator[str]:
    kinds: dict[Kind, list[Garbage]] = defaultdict(list)
    for item in items:
        kinds[item.kind].append(item)
    for kind, found in kinds.items():
        yield f"{len(found)} {_NOUNS[kind]}, {readable_size(sum(item.size for item in found))}"
        for item in found[:_SHOWN]:
            used = "" if item.last_used is None else f", last used {span(max(0.0, now - item.last_used))} ago"
            yield f"  {_name(item)}  {readable_size(item.size)}{used}: {item.why}"
        if len(found) > _SHOWN:
            yield f"  and {len(found) - _SHOWN} more"


def _total(items: Iterable[Garbage], is_deleted: bool) -> str:
    found = list(items)
    if not found:
        return "Nothing was deleted." if is_deleted else "There is no garbage."
    size = readable_size(sum(item.size for item in found))
    return f"{len(found)} things, {size}, {'deleted' if is_deleted else 'to delete'}"


def _name(item: Garbage) -> str:
    name = item.name[:12] if item.kind in ("outputs", "lease", "snapshot") else item.name
    return f"{name} of {item.step}" if item.step and item.kind != "record" else name
