"""What a task that waits for changes of data was told: each change goes to one run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.pipeline.data_changes import DataChange, all_that_is_there
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import watch_bookmark_key
from airflow_mlpipe.store.watch_log import Bookmark, WatchLog, begin, news_since
from airflow_mlpipe.store.watching import look

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskWatch:
    """The watch of the task *identity* on *path*, which on this machine is *place*.

    Its bookmark lies in *datastore* by DAG, task and map index. Deployments that have the same DAG, and are
    each to see every change, need namespaces of their own.
    """

    datastore: Datastore
    path: str
    place: str
    identity: TaskIdentity

    def next_change(self, *, existing: bool, settle: float) -> DataChange | None:
        """What this run is told: the same again if it was told before, else what no run was told so far.

        None when nothing is new. With *existing* all is, the first time; *settle* as for ``watching.news``.
        Raises StoreError when place or datastore do not answer.
        """
        written = self.datastore.read(self._key)
        bookmark = self._known(written)
        if bookmark is not None and self.identity.run_id in bookmark.runs:
            return self._told_before(bookmark)
        if bookmark is None:
            bookmark = begin(self.datastore, self.path, self.place, existing=existing)
            if not self._move(written, bookmark):
                return None
            written = bookmark.to_bytes()
        found = news_since(bookmark, self.datastore, self.place, settle=settle, run_id=self.identity.run_id)
        # Another run of the DAG that moved the bookmark meanwhile was told of the same files.
        if found is None or not self._move(written, found.bookmark):
            return None
        return DataChange(self.place, found.listing.root, found.change, found.listing.digest)

    @property
    def told_digest(self) -> str:
        """The digest of the listing with which the next look is compared. Raises StoreError."""
        bookmark = self._known(self.datastore.read(self._key)) or Bookmark(path=self.path)
        return WatchLog(self.datastore, bookmark.watch).told(bookmark).digest

    @cached_property
    def _key(self) -> str:
        return watch_bookmark_key(self.identity.dag_id, self.identity.task_id, self.identity.map_index)

    def _known(self, written: bytes | None) -> Bookmark | None:
        """The bookmark as it was *written*; None when there is none, or it is one of another place."""
        if written is None:
            return None
        try:
            bookmark = Bookmark.of(written)
        except DocumentError as error:
            log.warning("%s counts as watched for the first time: %s", self.path, error)
            return None
        return bookmark if bookmark.path == self.path else None

    def _move(self, written: bytes | None, bookmark: Bookmark) -> bool:
        data = bookmark.to_bytes()
        if written is None:
            return self.datastore.create(self._key, data)
        return self.datastore.swap(self._key, written, data)

    def _told_before(self, bookmark: Bookmark) -> DataChange:
        journal, sequence = WatchLog(self.datastore, bookmark.watch), bookmark.runs[self.identity.run_id]
        try:
            change, listing = journal.change(sequence), journal.listing(sequence)
        except DocumentError as error:
            log.warning("Everything at %s counts as new: %s", self.place, error)
            return all_that_is_there(self.place)
        return DataChange(self.place, look(self.place).root, change, listing.digest)
