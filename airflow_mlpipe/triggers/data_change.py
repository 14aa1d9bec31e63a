"""Waiting in the triggerer until data has changed: for DAGs that start on it, and for tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_mlpipe.errors import DefinitionError, DocumentError, MLPipeError
from airflow_mlpipe.model.datastore import Address, address_of
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.resuming import task_may_resume
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.watch_log import Bookmark, begin, news_since
from airflow_mlpipe.store.watching import look

# A triggerer loads no DAG file that would say so.
know_datastores()

POLL_SECONDS = 300.0
SETTLE_SECONDS = 5.0

# The triggerer has stored an event a second or two after it was handed over.
STORED_SECONDS = 10.0

# Where the bookmark of a watch is in the state that Airflow keeps for its asset.
BOOKMARK = "mlpipe_bookmark"

# Characters of an address that stay as they are in an asset's name, which has to be ASCII on some databases.
_LEGIBLE = "/:*?[]@=+,() "


class DataChangeTrigger(BaseEventTrigger):
    """Fires an event for *asset* whenever the files at *path* have changed.

    It looks every *poll_interval* seconds. A file that may be seen half written is told of when it has stayed
    as it is for *settle* seconds. With *existing*, what is there at the first look is a change, too.

    What was told is remembered in the deployment's datastore, and how far in Airflow's state of the asset.
    Each change is told at least once: a triggerer that ends within seconds of an event may tell it again. The
    payload is that of ``event_payload``.

    :param path: an absolute path, a URL, or a place in a datastore: a file, a folder, or a glob.
    :param asset: the name of the asset that it watches for.
    """

    def __init__(
        self,
        path: str,
        asset: str,
        poll_interval: float = POLL_SECONDS,
        settle: float = SETTLE_SECONDS,
        existing: bool = False,
    ) -> None:
        super().__init__()
        self.path = path
        self.asset = asset
        self.poll_interval = poll_interval
        self.settle = settle
        self.existing = existing

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        return _serialized(self, ("path", "asset", "poll_interval", "settle", "existing"))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, off the event loop: stores and servers answer synchronously."""
        bookmark: Bookmark | None = None
        while True:
            try:
                bookmark = bookmark or await self._recall()
                found = await asyncio.to_thread(self._news, bookmark)
            except Exception as error:  # one that ends a watch makes Airflow begin it again every second
                _say_again(self, error)
                found = None
            if found is not None:
                payload, bookmark = found
                yield TriggerEvent(payload)
                await asyncio.sleep(STORED_SECONDS)
                await self._remember(bookmark)
            await asyncio.sleep(self.poll_interval)

    async def _recall(self) -> Bookmark:
        """How far the watch has come; a new one is begun when it has not, or watched another place."""
        kept = await self._state.aget(BOOKMARK)
        try:
            bookmark = None if kept is None else Bookmark.of(kept)
        except DocumentError as error:
            self.log.warning("The watch of %s begins anew, and tells what is there: %s", self.path, error)
            bookmark = Bookmark(path=self.path)
        if bookmark is None or bookmark.path != self.path:
            bookmark = await asyncio.to_thread(self._begin)
            await self._remember(bookmark)
        return bookmark

    async def _remember(self, bookmark: Bookmark) -> None:
        """Move the bookmark, however long that takes: going on without would tell the same twice."""
        while True:
            try:
                await self._state.aset(BOOKMARK, bookmark.model_dump(mode="json"))
                return
            except Exception as error:  # whatever Airflow's API answers
                self.log.warning("It cannot be kept what was told of %s: %s", self.path, error)
            await asyncio.sleep(STORED_SECONDS)

    @property
    def _state(self) -> Any:
        try:
            if self.asset_state_store is not None:
                return self.asset_state_store[Asset.ref(name=self.asset)]
        except KeyError:
            pass
        raise DefinitionError(
            f"the trigger on {self.path} does not watch for an asset {self.asset!r}; use watched_data()"
        )

    def _begin(self) -> Bookmark:
        return begin(_own_store(), self.path, self.path, existing=self.existing)

    def _news(self, bookmark: Bookmark) -> tuple[dict[str, Any], Bookmark] | None:
        """What is new, as the payload of an event, and the bookmark for when it was told."""
        # What only a running trigger needs is imported when it runs: DAG files import this module.
        from airflow_mlpipe.pipeline.data_changes import event_payload

        found = news_since(bookmark, _own_store(), self.path, settle=self.settle)
        return None if found is None else (event_payload(found), found.bookmark)


class DataMovedTrigger(BaseTrigger):
    """Fires when it is time for a worker to look again: the listing of *path* has another digest.

    *poll_interval* is in seconds; the first look is after one. The event is ``{"status": "look"}``.
    """

    def __init__(self, path: str, digest: str, poll_interval: float = POLL_SECONDS) -> None:
        super().__init__()
        self.path = path
        self.digest = digest
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        return _serialized(self, ("path", "digest", "poll_interval"))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll, off the event loop."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(self.poll_interval)
            try:
                now = await asyncio.to_thread(look, self.path)
            except MLPipeError as error:
                _say_again(self, error)
                continue
            if now.digest != self.digest:
                await task_may_resume(began)
                yield TriggerEvent({"status": "look"})
                return


def watched_data(
    path: Address,
    *,
    poll_interval: float = POLL_SECONDS,
    settle: float = SETTLE_SECONDS,
    existing: bool = False,
    name: str | None = None,
) -> Asset:
    """The data at *path* as an asset that has an event whenever files come, change or go, for ``schedule=``.

    The parameters are those of :class:`DataChangeTrigger`; *name* is the asset's, by default made of *path*.
    Wherever the same path is watched, all arguments must be the same: to Airflow that is one asset. Raises
    DefinitionError for a path that a triggerer cannot find, and for times that are none.
    """
    address = watchable(path)
    who = f"watched_data({address!r})"
    check_seconds(who, "poll_interval", poll_interval, at_least=1)
    check_seconds(who, "settle", settle, at_least=0)
    title = name or f"mlpipe.data.{quote(address, safe=_LEGIBLE)}"
    trigger = DataChangeTrigger(address, title, float(poll_interval), float(settle), existing)
    watcher = AssetWatcher(name="mlpipe", trigger=trigger)
    return Asset(name=title, uri=f"mlpipe://data/{quote(address, safe='')}", watchers=[watcher])


def watchable(path: Address) -> str:
    """The text that names *path* on every machine; DefinitionError for a path that starts somewhere."""
    address = address_of(path)
    if "://" in address or Path(address).is_absolute():
        return address
    raise DefinitionError(
        f"{address!r} cannot be watched: a triggerer has no DAG folder at which a relative path could start; "
        "write an absolute path, a URL, or a place in a datastore"
    )


def check_seconds(who: str, what: str, seconds: float, *, at_least: float) -> None:
    """Raise DefinitionError unless *seconds* is a length of time that is not too short."""
    if not at_least <= seconds < float("inf"):
        raise DefinitionError(f"{who}: {what}={seconds!r} is no number of seconds from {at_least:g} on")


def _say_again(trigger: DataChangeTrigger | DataMovedTrigger, error: Exception) -> None:
    surprise = None if isinstance(error, MLPipeError) else error
    trigger.log.warning(
        "%s is looked at again in %g s: %s", trigger.path, trigger.poll_interval, error, exc_info=surprise
    )


def _own_store() -> Datastore:
    from airflow_mlpipe.pipeline.settings import Settings
    from airflow_mlpipe.pipeline.stores import Stores

    return Stores.open(Settings.read()).own


def _serialized(trigger: BaseTrigger, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    kind = type(trigger)
    return f"{kind.__module__}.{kind.__qualname__}", {name: getattr(trigger, name) for name in names}
