"""``airflow mlpipe verify``: holds what is stored against its manifests."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from airflow_mlpipe.cli.command import FAILED, command, say
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.cli.selection import select
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.audit import Audit, Verdict, audit
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.progress import readable_size

_TOLD_EVERY = 1000


@command
def run(args: Namespace) -> int | None:
    """Check all, or what is named; exit code 1 when something is damaged."""
    stores = Stores.open(Settings.read())
    total, damaged = Audit(), []
    for datastore, verdict in _verdicts(stores, args):
        total.count(verdict)
        if verdict.problems:
            is_to_go = args.withdraw and args.yes and datastore is stores.own
            withdrawn = is_to_go and _withdraw(datastore, verdict)
            damaged.append({**verdict.as_document(), "datastore": datastore.url, "withdrawn": withdrawn})
        if total.manifests % _TOLD_EVERY == 0:
            say(f"{total.manifests} manifests checked")
    document = {"schema_version": 1, "level": args.level, **total.as_document(), "damaged": damaged}
    print_document(document, args.output, "\n".join(_lines(total, damaged, args)))
    return FAILED if damaged else None


def _withdraw(datastore: Datastore, verdict: Verdict) -> bool:
    """Whether the manifest is gone now; one that took its place since it was judged stays."""
    said = Invalidations(datastore)
    return said.invalidate(
        verdict.fingerprint, "airflow mlpipe verify", verdict.problems[0], seen=verdict.seen
    )


def _verdicts(stores: Stores, args: Namespace) -> Iterator[tuple[Datastore, Verdict]]:
    if args.step:
        for step in args.step:
            selected = select(stores, step)
            yield from (
                (selected.datastore, verdict)
                for verdict in audit(selected.datastore, args.level, [selected.fingerprint], stores.keyring)
            )
        return
    for datastore in stores:
        for verdict in audit(datastore, args.level, keyring=stores.keyring):
            if args.dag in (None, verdict.dag_id):
                yield datastore, verdict


def _lines(total: Audit, damaged: list[dict[str, Any]], args: Namespace) -> Iterator[str]:
    for found in damaged:
        yield f"{found['fingerprint'][:12]} of {found['step'] or 'a step that cannot be told'}:"
        yield from (f"  {problem}" for problem in found["problems"])
        if found["withdrawn"]:
            yield "  its manifest was withdrawn; the next run makes the outputs again"
    how = "every byte read" if args.level == "digest" else "sizes compared"
    yield (
        f"{total.manifests} manifests, {total.outputs} outputs, {readable_size(total.size)}, {how}: "
        f"{len(damaged) or 'none'} damaged"
    )
    if damaged and not (args.withdraw and args.yes):
        yield "Nothing was changed; --withdraw --yes withdraws the manifests of what is damaged."
