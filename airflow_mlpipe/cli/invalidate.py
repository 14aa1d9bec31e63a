"""``airflow mlpipe invalidate``: takes outputs out of use, so that their steps run again."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.cli.command import MISUSED, command, say
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.cli.selection import select
from airflow_mlpipe.errors import MLPipeError, NotFoundError
from airflow_mlpipe.pipeline.actor import person
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import span
from airflow_mlpipe.store.audit import sealed_fingerprints
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, ManifestUnusable, parse_manifest
from airflow_mlpipe.store.run_record import RunRecords


@dataclass(frozen=True)
class _Selected:
    """Sealed outputs: the bytes of their manifest, and what they say; None when they cannot be read."""

    fingerprint: str
    seen: bytes
    manifest: Manifest | None

    def as_document(self, *, withdrawn: bool) -> dict[str, Any]:
        manifest = self.manifest
        return {
            "fingerprint": self.fingerprint,
            "step": None if manifest is None else manifest.producer.step,
            "sealed_at": None if manifest is None else manifest.sealed_at,
            "seconds": None if manifest is None else manifest.seconds,
            "withdrawn": withdrawn,
        }

    def line(self, now: float) -> str:
        if self.manifest is None:
            return f"{self.fingerprint[:12]}  a manifest that cannot be read"
        age = span(max(0.0, now - self.manifest.sealed_at))
        took = span(self.manifest.seconds)
        return f"{self.fingerprint[:12]}  made by {self.manifest.producer.step} {age} ago in {took}"


@command
def run(args: Namespace) -> int | None:
    """Say what would be withdrawn, or withdraw it. No selection selects nothing, never everything."""
    if not (args.step or args.dag or args.task or args.older_than):
        say("say which outputs: STEP, --dag, --task or --older-than; `airflow mlpipe invalidate --help`")
        return MISUSED
    stores = Stores.open(Settings.read())
    now = time.time()
    found = list(_selected(stores, args, now))
    if not found:
        raise NotFoundError(f"no sealed outputs in {stores.own.url} are what was selected; nothing was done")
    withdrawn = _withdraw(stores.own, found, args.reason, now) if args.yes else set()
    document = {
        "schema_version": 1,
        "datastore": stores.own.url,
        "reason": args.reason,
        "outputs": [item.as_document(withdrawn=item.fingerprint in withdrawn) for item in found],
    }
    print_document(document, args.output, "\n".join(_lines(found, withdrawn, args.yes, now)))
    return None


def _selected(stores: Stores, args: Namespace, now: float) -> Iterator[_Selected]:
    if args.step:
        fingerprints: Iterator[str] = iter(dict.fromkeys(_own(stores, step) for step in args.step))
    else:
        fingerprints = sealed_fingerprints(stores.own)
    used = frozenset(_used_by(stores.own, args.dag, args.task)) if args.dag else frozenset()
    for fingerprint in fingerprints:
        data = stores.own.read(manifest_key(fingerprint))
        if data is None:
            continue
        try:
            manifest = parse_manifest(data, fingerprint)
        except ManifestUnusable:
            if not (args.dag or args.task or args.older_than):
                yield _Selected(fingerprint, data, None)
            continue
        if _is_meant(manifest, args, used, now):
            yield _Selected(fingerprint, data, manifest)


def _own(stores: Stores, step: str) -> str:
    selected = select(stores, step)
    if selected.datastore is not stores.own:
        raise MLPipeError(
            f"the outputs of {step} lie in {selected.datastore.url}, which this deployment only reads; "
            "invalidate them where they are written, or change reuse_version of the step"
        )
    return selected.fingerprint


def _used_by(datastore: Datastore, dag_id: str, task_id: str | None) -> Iterator[str]:
    """The fingerprints that a DAG's steps have had, whoever made the outputs."""
    for record in RunRecords(datastore).below(dag_id):
        if task_id in (None, record.task_id):
            yield record.fingerprint


def _is_meant(manifest: Manifest, args: Namespace, used: frozenset[str], now: float) -> bool:
    made_by = manifest.producer
    is_made = args.dag in (None, made_by.dag_id) and args.task in (None, made_by.task_id)
    is_old = args.older_than is None or now - manifest.sealed_at >= args.older_than
    return is_old and (is_made or manifest.fingerprint in used)


def _withdraw(datastore: Datastore, found: Sequence[_Selected], reason: str, now: float) -> set[str]:
    """The fingerprints whose manifests are gone now."""
    invalidations, by = Invalidations(datastore), person()
    withdrawn = set()
    for item in found:
        if invalidations.invalidate(item.fingerprint, by, reason, seen=item.seen):
            withdrawn.add(item.fingerprint)
            say(f"withdrew {item.line(now)}")
        else:
            say(f"{item.fingerprint[:12]} was sealed anew or withdrawn meanwhile, and stays as it is")
    return withdrawn


def _lines(found: Sequence[_Selected], withdrawn: set[str], done: bool, now: float) -> Iterator[str]:
    seconds = sum(item.manifest.seconds for item in found if item.manifest is not None)
    if done:
        yield f"{len(withdrawn)} outputs invalidated; their steps run again when they are next needed."
    else:
        yield from (item.line(now) for item in found)
        yield f"{len(found)} outputs, which took {span(seconds)} to make, would be invalidated."
        yield "Nothing was done; --yes invalidates them."
