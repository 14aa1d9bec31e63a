"""What has been told of the changes at watched places: a bookmark for each reader, and listings to compare.

Changes of one watch are numbered from 1. The listing of each is kept, so that change number n is the
difference between the listings n - 1 and n; listing 0 is empty. Whoever reads keeps a bookmark where it suits
them, and moves it only when what was told has arrived: a crash in between tells the same once more.
"""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import watch_listing_key
from airflow_mlpipe.store.watching import NOTHING, ChangeSet, Snapshot, look, news

log = logging.getLogger(__name__)

KEPT = 100
"""So many changes of a watch can be looked up; also so many runs that were told one."""


class Bookmark(BaseModel):
    """How far somebody has read: change number *sequence* of *watch*.

    *path* is the watched place as the reader names it. *runs* are the DAG runs that were told a change,
    oldest first, each with its number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    path: str
    watch: str = Field(default_factory=lambda: uuid.uuid4().hex)
    sequence: Annotated[int, Field(ge=0)] = 0
    runs: dict[str, int] = {}

    @classmethod
    def of(cls, document: object) -> Bookmark:
        """Read one from JSON, or from what that was parsed to; DocumentError for anything else."""
        try:
            if isinstance(document, bytes):
                return cls.model_validate_json(document)
            return cls.model_validate(document)
        except ValidationError as error:
            raise DocumentError(f"a bookmark of a watch cannot be read: {error}") from error

    def to_bytes(self) -> bytes:
        """The bookmark as JSON."""
        return self.model_dump_json().encode()

    def moved(self, run_id: str | None = None) -> Bookmark:
        """One change further, told to the DAG run *run_id* if any."""
        runs = self.runs if run_id is None else {**self.runs, run_id: self.sequence + 1}
        latest = dict(list(runs.items())[-KEPT:])
        return self.model_copy(update={"sequence": self.sequence + 1, "runs": latest})


@dataclass(frozen=True)
class WatchLog:
    """The listings of one *watch* in a datastore."""

    datastore: Datastore
    watch: str

    def listing(self, sequence: int) -> Snapshot:
        """What lay there when change number *sequence* was told.

        Raises DocumentError when that is not known any more, StoreError when the store does not answer.
        """
        if sequence == 0:
            return NOTHING
        data = self.datastore.read(watch_listing_key(self.watch, sequence))
        if data is None:
            raise DocumentError(f"listing {sequence} of watch {self.watch} is not in {self.datastore.url}")
        return Snapshot.from_bytes(data)

    def told(self, bookmark: Bookmark) -> Snapshot:
        """The listing at *bookmark*; nothing, and so all of it to be told anew, when that is not known."""
        try:
            return self.listing(bookmark.sequence)
        except DocumentError as error:
            log.warning("Everything at %s counts as new: %s", bookmark.path, error)
            return NOTHING

    def keep(self, sequence: int, listing: Snapshot) -> Snapshot:
        """Keep *listing* as that of change number *sequence*; returns the one that is kept.

        That is another, if somebody was here before: whether he has told it, or was ended before he could,
        cannot be seen, so that it must stay what the number means. What is new since then is the next change.
        """
        key = watch_listing_key(self.watch, sequence)
        if not self.datastore.create(key, listing.to_bytes()):
            try:
                return dataclasses.replace(self.listing(sequence), root=listing.root)
            except DocumentError as error:
                log.warning("A listing of %s is replaced: %s", listing.root, error)
                self.datastore.write(key, listing.to_bytes())
        if sequence > KEPT:
            self.datastore.delete(watch_listing_key(self.watch, sequence - KEPT))
        return listing

    def change(self, sequence: int) -> ChangeSet:
        """Change number *sequence*. Raises as :meth:`listing`."""
        return ChangeSet.between(self.listing(sequence - 1), self.listing(sequence))


@dataclass(frozen=True)
class News:
    """A change that is to be told: what lies there now, and where the bookmark is once it was told."""

    change: ChangeSet
    listing: Snapshot
    bookmark: Bookmark


def begin(datastore: Datastore, path: str, place: str, *, existing: bool) -> Bookmark:
    """The bookmark of a new watch of *path*, which on this machine is *place*.

    With *existing* what lies there already is news, too. Raises StoreError when that cannot be told, or not
    be written.
    """
    bookmark = Bookmark(path=path)
    if existing:
        return bookmark
    WatchLog(datastore, bookmark.watch).keep(1, look(place))
    return bookmark.moved()


def news_since(
    bookmark: Bookmark,
    datastore: Datastore,
    place: str,
    *,
    settle: float,
    run_id: str | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> News | None:
    """What is new at *place* since *bookmark*, None when nothing is; *settle* and *pause* as for ``news``.

    The listing is kept before anybody is told, so that a store that refuses it cannot make the same change
    be told again and again. Raises StoreError when place or store do not answer.
    """
    journal = WatchLog(datastore, bookmark.watch)
    told = journal.told(bookmark)
    found = news(place, told, settle=settle, pause=pause)
    if found is None:
        return None
    moved = bookmark.moved(run_id)
    kept = journal.keep(moved.sequence, found)
    return News(ChangeSet.between(told, kept), kept, moved)
