"""The changes that a run was started for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Asset, BaseOperator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.xcom import allow_references
from airflow_mlpipe.triggers.data_change import DataChangeTrigger

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult
    from airflow_mlpipe.model.dataset import FileDataset

allow_references()


class ListChangedData(BaseOperator):
    """Hand on what changed at a watched place, by all events of *asset* that started this run.

    What is returned and pushed is that of ``DataChangeSensor``. When it is not events of the trigger that
    started the run but somebody by hand, all that is there counts as added.

    :param asset: what ``watched_data()`` returned.
    """

    ui_color = "#e8e8f5"

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset = asset
        self.path = _watched_path(asset, f"task {self.task_id!r}")

    def execute(self, context: Any) -> list[FileDataset]:
        """See the class. Raises StoreError when the place, or what was told of it, cannot be read."""
        # What only a running task needs is imported when it runs.
        from airflow_mlpipe.pipeline.data_changes import all_that_is_there, change_of_events
        from airflow_mlpipe.pipeline.settings import Settings
        from airflow_mlpipe.pipeline.stores import Stores

        events = context["triggering_asset_events"].get(self.asset, ())
        payloads = [event.extra.get("payload") for event in events]
        if payloads and all(payloads):
            change = change_of_events(payloads, Stores.open(Settings.read()).own)
        else:
            self.log.info("It is not a change of %s that started this run: all of it counts", self.path)
            change = all_that_is_there(self.path)
        self.log.info("%s: %s", self.path, change.sentence)
        for key, value in change.keys().items():
            context["ti"].xcom_push(key=key, value=value)
        return change.datasets()


def changed_data(
    asset: Asset, *, task_id: str = "changed_data", **kwargs: Any
) -> StepResult[list[FileDataset]]:
    """Add a task that tells what changed of *asset*, and return that: a dataset for each new or changed file.

    The list can be mapped over; its key ``data`` is all of it as one dataset. See :class:`ListChangedData`.
    Further keywords are those of any task. Raises DefinitionError for what ``watched_data()`` did not return.
    """
    return cast(
        "StepResult[list[FileDataset]]", ListChangedData(asset=asset, task_id=task_id, **kwargs).output
    )


def _watched_path(asset: Any, who: str) -> str:
    watchers: Sequence[Any] = getattr(asset, "watchers", ())
    for watcher in watchers:
        if isinstance(watcher.trigger, DataChangeTrigger):
            return watcher.trigger.path
    raise DefinitionError(f"{who}: {asset!r} is not what watched_data() returns, so nobody tells its changes")
