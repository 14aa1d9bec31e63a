"""``@task.mlpipe``."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow_mlpipe.errors import DefinitionError


def step_task(*arguments: Any, **keywords: Any) -> NoReturn:
    """The name is reserved; using it is an error that says what to use."""
    raise DefinitionError(
        "@task.mlpipe is reserved for TaskFlow-style steps, which this version does not have; "
        "put the function into a script and use PythonScriptStep"
    )
