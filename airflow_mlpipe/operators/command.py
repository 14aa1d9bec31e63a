"""A step that runs any command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_mlpipe.model.entry import Command
from airflow_mlpipe.operators.python_script import task_id_from
from airflow_mlpipe.operators.step import StepOperator


class CommandStep(StepOperator):
    """Run a command, an R script for instance, or reuse the outputs of an earlier run of it.

    No shell is involved: ``command`` is the program and its first arguments, ``arguments`` follow. Nobody
    knows which files a command reads, so all files of ``source_directory`` count for reuse, by their bytes.

    :param command: such as ``["Rscript", "fit.R"]``.
    :param name: SDK v1's name of a step; it becomes the task id when ``task_id`` is not given.

    All other parameters are those of :class:`~airflow_mlpipe.sensors.output_reuse.OutputReuseSensor`.
    """

    def __init__(
        self, *, command: Sequence[str], name: str | None = None, task_id: str | None = None, **kwargs: Any
    ) -> None:
        entry = Command(argv=command)
        if task_id is None:
            task_id = task_id_from(name or "_".join(entry.argv[:2]))
        if name is not None:
            kwargs.setdefault("task_display_name", name)
        super().__init__(task_id=task_id, entry=entry, **kwargs)
        self.command = list(entry.argv)
