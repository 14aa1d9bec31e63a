"""Waiting in a DAG until data has changed since the DAG last saw it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_mlpipe.model.datastore import address_of
from airflow_mlpipe.pipeline import bundle, resuming
from airflow_mlpipe.pipeline.xcom import allow_references
from airflow_mlpipe.triggers.data_change import (
    POLL_SECONDS,
    SETTLE_SECONDS,
    DataMovedTrigger,
    check_seconds,
)

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.watches import TaskWatch

allow_references()


class DataChangeSensor(BaseSensorOperator):
    """Waits until files come, change or go, and hands on which; each change is told to one run.

    What it compares with is what its last success was told, in whichever run that was. A run that is cleared
    is told the same once more.

    It returns a list with a dataset for each file that was added or changed, to be mapped over or read as a
    whole. By XCom it also pushes ``data`` (all of them as one dataset; absent when files have only gone),
    ``paths`` (their addresses), ``added``, ``changed`` and ``removed`` (paths below the place), ``path`` and
    ``digest``. When there are more than 5,000, the place itself stands for them.

    :param path: a path, a URL, or a place in a datastore: a file, a folder with its subfolders, or a glob.
        A relative path starts at the folder of the DAG file. Templated.
    :param existing: whether what is there when it looks for the first time is new.
    :param settle: for how many seconds a file must stay as it is, where it could be seen half written.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``. Without it,
        ``mode="reschedule"`` frees the worker while waiting.
    """

    template_fields: Sequence[str] = ("path",)
    ui_color = "#d9e8f5"

    def __init__(
        self,
        *,
        path: Any,
        existing: bool = True,
        settle: float = SETTLE_SECONDS,
        deferrable: bool | None = None,
        mode: str = "reschedule",
        poke_interval: float | timedelta = POLL_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.path = path if isinstance(path, ResolveMixin) else address_of(path)
        self.existing = existing
        self.settle = settle
        self._deferrable = deferrable
        shortest = resuming.SHORTEST_RESCHEDULE_SECONDS if self.reschedule and not self.deferrable else 0
        check_seconds(self.who, "poke_interval", self.poke_interval, at_least=shortest)
        check_seconds(self.who, "settle", settle, at_least=0)

    @property
    def who(self) -> str:
        """The task, for messages."""
        return f"task {self.task_id!r}"

    @property
    def deferrable(self) -> bool:
        """Whether it waits in the triggerer."""
        if self._deferrable is not None:
            return self._deferrable
        return bool(conf.getboolean("operators", "default_deferrable", fallback=False))

    def execute(self, context: Any) -> Any:
        """Look, and wait while there is nothing new; see the class for what is returned."""
        if self.deferrable:
            return self._look_or_defer(context, time.time() + self.timeout)
        return super().execute(context)

    def resume(self, context: Any, event: Any, deadline: float | None = None) -> Any:
        """Go on after the triggerer has seen a change; *deadline* is in seconds since the epoch."""
        # dag.test() loses what a task defers with.
        return self._look_or_defer(context, time.time() + self.timeout if deadline is None else deadline)

    def poke(self, context: Any) -> PokeReturnValue:
        """Whether there is a change that no run was told, and if so which."""
        watch = self._watch(context)
        change = watch.next_change(existing=self.existing, settle=self.settle)
        if change is None:
            self.log.info("%s: nothing is new at %s", self.who, watch.place)
            return PokeReturnValue(False)
        self.log.info("%s: %s has changed: %s", self.who, watch.place, change.sentence)
        for key, value in change.keys().items():
            context["ti"].xcom_push(key=key, value=value)
        return PokeReturnValue(True, change.datasets())

    def _watch(self, context: Any) -> TaskWatch:
        # What only a running task needs is imported when it runs.
        from airflow_mlpipe.pipeline.identity import TaskIdentity
        from airflow_mlpipe.pipeline.settings import Settings
        from airflow_mlpipe.pipeline.stores import Stores
        from airflow_mlpipe.pipeline.watches import TaskWatch

        path = address_of(self.path)
        place = path if "://" in path else str(bundle.dag_folder(self.dag) / path)
        return TaskWatch(Stores.open(Settings.read()).own, path, place, TaskIdentity.of(context))

    def _look_or_defer(self, context: Any, deadline: float) -> Any:
        outcome = self.poke(context)
        if outcome.is_done:
            return outcome.xcom_value
        remaining = deadline - time.time()
        if remaining <= 0:
            raise AirflowSensorTimeout(f"{self.who}: waited for {self.timeout:g} s in vain")
        watch = self._watch(context)
        return self.defer(
            trigger=DataMovedTrigger(watch.place, watch.told_digest, self.poke_interval),
            method_name="resume",
            kwargs={"deadline": deadline},
            timeout=timedelta(seconds=remaining),
        )
