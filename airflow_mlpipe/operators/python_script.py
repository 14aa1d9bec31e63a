"""A step that runs a Python script."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from airflow_mlpipe.model.entry import Script
from airflow_mlpipe.operators.step import StepOperator


class PythonScriptStep(StepOperator):
    """Run a Python script, or reuse the outputs of an earlier run of it.

    The script runs in a process of its own, in a working directory that holds a copy of
    ``source_directory``, as ``python SCRIPT ARGUMENT...``.

    :param script_name: path of the script inside ``source_directory``.
    :param name: SDK v1's name of a step; it becomes the task id when ``task_id`` is not given. Without
        either, the step is called after its script.

    All other parameters are those of :class:`~airflow_mlpipe.sensors.output_reuse.OutputReuseSensor`.
    """

    def __init__(
        self, *, script_name: str, name: str | None = None, task_id: str | None = None, **kwargs: Any
    ) -> None:
        entry = Script(script_name=script_name)
        if task_id is None:
            task_id = task_id_from(name or PurePosixPath(script_name).name)
        if name is not None:
            kwargs.setdefault("task_display_name", name)
        super().__init__(task_id=task_id, entry=entry, **kwargs)
        self.script_name = script_name


def task_id_from(name: str) -> str:
    """A task id for a step that was given a name, which may hold anything."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_") or "step"
