"""The tasks around mapped tasks that run one after the other."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, TriggerRule


class ChunkItems(BaseOperator):
    """Gives out the positions of the items of one chunk, from *start* up to but without *stop*.

    A task that is mapped over what another returns is one task instance until then. Over a list in the DAG
    file it is all of them from the start, and the scheduler looks at each that waits, again and again.
    """

    ui_color = "#f2f2f2"

    def __init__(self, *, start: int, stop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def execute(self, context: Any) -> list[int]:
        """The positions."""
        return self.planned(context)

    def planned(self, context: Any) -> list[int]:
        """What it returns in any run."""
        return list(range(self.start, self.stop))


class ChunksEnd(BaseOperator):
    """The end of all chunks. It succeeds or fails by its trigger rule alone, and is sent to no worker.

    Airflow judges a run by the tasks that nothing comes after, so a failure in any chunk but the last would
    be lost. When something reads the results of all chunks, that decides what a failure means; else this.
    """

    inherits_from_empty_operator = True
    ui_color = "#f2f2f2"

    def execute(self, context: Any) -> None:
        """Do nothing; only ``dag.test()`` comes here."""

    def resolve_template_files(self) -> None:
        """Airflow calls this for every task when all of the DAG file is read."""
        super().resolve_template_files()
        if not self.has_dag() or self.dag.fail_fast:
            return
        if all(self._is_read(task_id) for task_id in self.upstream_task_ids):
            self.trigger_rule = TriggerRule.ALL_DONE

    def _is_read(self, task_id: str) -> bool:
        readers = self.dag.get_task(task_id).downstream_list
        return any(not isinstance(reader, (ChunkItems, ChunksEnd)) for reader in readers)
