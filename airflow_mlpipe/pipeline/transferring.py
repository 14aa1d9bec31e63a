"""Copying data from one place to another, and making the one the mirror of the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.connections.services import lies_in
from airflow_mlpipe.pipeline.destinations import destination_url, resolved
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.canonical import digest
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import mirror_key
from airflow_mlpipe.store.progress import Progress, readable_size
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import leaf_of
from airflow_mlpipe.store.sources import Source
from airflow_mlpipe.store.transfer.copying import copy_tree
from airflow_mlpipe.store.transfer.ends import CopyReport

log = logging.getLogger(__name__)

_SHOWN = 100


@dataclass(frozen=True)
class Transfer:
    """What goes where: *sources* by their paths below *destination*, which is a URL; *what* is their name."""

    what: str
    sources: Mapping[str, str]
    destination: str

    @classmethod
    def of(cls, source: Source, what: str, place: str, stores: Stores, *, mirror: bool) -> Transfer:
        """The transfer of *source* to *place*; one file goes into a place that ends with a slash.

        Raises StoreError for a source that is not there, and for a destination that may not be written, lies
        in the source, or, for a mirror, has what is no copy of the source by its nature.
        """
        if source.kind == "missing":
            raise StoreError(f"{what} was not written, so there is nothing to copy; let its step write it")
        destination = destination_url(place, stores)
        sources = {part.path: part.uri for part in source.places}
        if source.kind == "file" and place.endswith("/"):
            sources = {leaf_of(source.places[0].uri): source.places[0].uri}
        transfer = cls(what, sources, destination)
        transfer._refuse_overlaps(place, [store.url for store in stores], mirror)
        return transfer

    def run(
        self, cache: HashCache, *, mirror: bool, dry_run: bool, say: Callable[[str], None] = log.info
    ) -> CopyReport:
        """Copy; with *dry_run* only find out what would be done. Raises StoreError."""
        progress = Progress(f"copying {self.what} to {self.destination}", say)
        return copy_tree(
            self.sources,
            self.destination,
            progress,
            mirror=mirror,
            dry_run=dry_run,
            digests=RemoteDigests(cache),
        )

    def _refuse_overlaps(self, place: str, stores: Sequence[str], mirror: bool) -> None:
        for inside, url in self.sources.items():
            target = f"{self.destination}/{inside}" if inside else self.destination
            if lies_in(self.destination, url) or lies_in(target, url):
                raise StoreError(f"the destination {place!r} lies in {self.what} itself; choose another")
            if mirror and lies_in(url, self.destination):
                raise StoreError(
                    f"{self.what} lies in the destination {place!r}, and a mirror would delete it; choose "
                    "another"
                )
        if mirror and (held := [url for url in stores if lies_in(resolved(url), self.destination)]):
            raise StoreError(
                f"the datastore {held[0]} lies in the destination {place!r}, and a mirror would delete it; "
                "choose another"
            )


class Mirrors:
    """Remembers in *stores* of which mirrors people have seen what they would delete."""

    def __init__(self, stores: Stores) -> None:
        self._store = stores.own

    def is_known(self, dag_id: str, task_id: str, transfer: Transfer) -> bool:
        """Whether this task has shown before what its mirror would delete."""
        return self._store.read(_mirror(dag_id, task_id, transfer)) is not None

    def remember(self, dag_id: str, task_id: str, transfer: Transfer) -> None:
        """It has shown it now."""
        document = {"schema_version": 1, "source": transfer.what, "destination": transfer.destination}
        who = {"dag_id": dag_id, "task_id": task_id}
        content = json.dumps({**document, **who}, indent=2, sort_keys=True) + "\n"
        self._store.create(_mirror(dag_id, task_id, transfer), content.encode())


def _mirror(dag_id: str, task_id: str, transfer: Transfer) -> str:
    return mirror_key(digest([dag_id, task_id, transfer.what, transfer.destination]))


def summary(report: CopyReport, *, dry_run: bool) -> str:
    """What was done, or would be, in a sentence."""
    would = "would be " if dry_run else ""
    way = ", on their server" if report.server_side and report.copied else ""
    parts = [f"{report.copied} files ({readable_size(report.bytes)}) {would}copied{way}"]
    parts.append(f"{report.skipped} were there already")
    if report.deleted:
        parts.append(f"{len(report.deleted)} {would}deleted")
    return ", ".join(parts)


def document_of(report: CopyReport, *, dry_run: bool) -> dict[str, Any]:
    """The same as JSON: counts of files, and bytes."""
    return {
        "copied": report.copied,
        "skipped": report.skipped,
        "deleted": len(report.deleted),
        "bytes": report.bytes,
        "server_side": report.server_side,
        "dry_run": dry_run,
    }


def deletions(report: CopyReport) -> list[str]:
    """The paths that go, the first hundred by name."""
    shown = list(report.deleted[:_SHOWN])
    more = len(report.deleted) - len(shown)
    return [*shown, f"and {more} more"] if more else shown
