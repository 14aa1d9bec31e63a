"""Changes of watched data: as an asset event carries them, and as a task hands them on."""

from __future__ import annotations

import dataclasses
import glob
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.model.dataset import FileDataset
from airflow_mlpipe.reuse.phrases import listing as phrase
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.watch_log import News, WatchLog
from airflow_mlpipe.store.watching import ChangeSet, look

log = logging.getLogger(__name__)

# Events and XCom are rows in Airflow's database.
MOST_IN_EVENT = 200
MOST_IN_XCOM = 5_000

DATA = "data"
"""The XCom key of all that is new, as one dataset."""


@dataclass(frozen=True)
class DataChange:
    """What changed at the place *path*; paths of *change* start at the address *root*.

    *digest* is of the listing afterwards.
    """

    path: str
    root: str
    change: ChangeSet
    digest: str

    @property
    def sentence(self) -> str:
        """The change in words, for logs."""
        parts = (("new", self.change.added), ("changed", self.change.changed), ("gone", self.change.removed))
        return "; ".join(f"{word}: {phrase([*paths])}" for word, paths in parts if paths) or "nothing changed"

    @property
    def addresses(self) -> list[str]:
        """Where the files lie that were added or changed.

        When they are too many for XCom that is the watched place itself, in which they all are.
        """
        present = self.change.present
        if len(present) > MOST_IN_XCOM:
            return [self.path]
        return [f"{self.root.rstrip('/')}/{path}" for path in present]

    def datasets(self) -> list[FileDataset]:
        """Each of :attr:`addresses` as an input."""
        return [FileDataset(paths=(self._as_dataset_path(address),)) for address in self.addresses]

    def keys(self) -> dict[str, Any]:
        """What is handed on besides, by XCom key; ``data`` is absent when there is nothing to read."""
        change, few = self.change, len(self.change.present) <= MOST_IN_XCOM
        document = {
            "path": self.path,
            "paths": self.addresses,
            "added": list(change.added) if few else [],
            "changed": list(change.changed) if few else [],
            "removed": list(change.removed[:MOST_IN_XCOM]),
            "digest": self.digest,
        }
        if not change.present:
            return document
        paths = [self._as_dataset_path(address) for address in self.addresses]
        if len(paths) == 1 and paths[0] != self.path:
            paths = [_as_pattern(paths[0])]
        return {**document, DATA: FileDataset(paths=tuple(paths))}

    def _as_dataset_path(self, address: str) -> str:
        """*address* as the path of a dataset, in which wildcards have a meaning."""
        return address if address == self.path else glob.escape(address)


def _as_pattern(path: str) -> str:
    """A pattern that only *path* matches: what it stands for is a folder with that file, not the file."""
    if glob.has_magic(path):
        return path
    last = next(at for at in range(len(path) - 1, -1, -1) if path[at].isalnum())
    return f"{path[:last]}[{path[last]}]{path[last + 1 :]}"


def event_payload(news: News) -> dict[str, Any]:
    """*news* as plain JSON: at most 200 paths, and ``more`` says how many others there are.

    All of them can be looked up by ``watch`` and ``sequence``.
    """
    change, room, shown = news.change, MOST_IN_EVENT, {}
    for kind, paths in (("added", change.added), ("changed", change.changed), ("removed", change.removed)):
        shown[kind] = list(paths[:room])
        room -= len(shown[kind])
    total = len(change.added) + len(change.changed) + len(change.removed)
    return {
        "path": news.bookmark.path,
        "root": news.listing.root,
        **shown,
        "more": total - sum(map(len, shown.values())),
        "digest": news.listing.digest,
        "watch": news.bookmark.watch,
        "sequence": news.bookmark.sequence,
    }


def change_of_events(payloads: Iterable[Mapping[str, Any]], datastore: Datastore) -> DataChange:
    """What changed by all *payloads*, of which there is one at least, together.

    Raises StoreError when a change of very many files is to be looked up and the store does not answer.
    """
    in_order = sorted(payloads, key=lambda payload: int(payload["sequence"]))
    changes = [_change_of_event(payload, datastore) for payload in in_order]
    together = reduce(ChangeSet.then, (found.change for found in changes))
    return dataclasses.replace(changes[-1], change=together)


def all_that_is_there(path: str) -> DataChange:
    """Everything at *path* as if it were new. Raises StoreError when it cannot be told what is there."""
    now = look(path)
    return DataChange(path, now.root, ChangeSet(added=tuple(sorted(now.stamps))), now.digest)


def _change_of_event(payload: Mapping[str, Any], datastore: Datastore) -> DataChange:
    kinds = {kind: tuple(payload[kind]) for kind in ("added", "changed", "removed")}
    change = ChangeSet(**kinds)
    if payload["more"]:
        try:
            change = WatchLog(datastore, payload["watch"]).change(payload["sequence"])
        except DocumentError as error:
            log.warning("Everything at %s counts as changed: %s", payload["path"], error)
            return all_that_is_there(payload["path"])
    return DataChange(payload["path"], payload["root"], change, payload["digest"])
