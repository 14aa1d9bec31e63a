"""Pipeline parameters and the params of the DAG."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.parameters import PipelineParameter


def bind_parameters(dag: Any, task: Any, items: Iterable[Any]) -> None:
    """Make sure that the DAG, and so the Trigger form, has a param for every PipelineParameter in *items*.

    Raises DefinitionError for one that the DAG does not declare and that has no default.
    """
    for item in items:
        if not isinstance(item, PipelineParameter) or item.name in dag.params:
            continue
        if not item.has_default:
            known = ", ".join(sorted(dag.params)) or "none"
            raise DefinitionError(
                f"step {task.task_id!r} uses PipelineParameter({item.name!r}), which the DAG does not "
                f"declare (its params: {known}); add it to the DAG's params, or give it a default_value"
            )
        dag.params[item.name] = item.default_value
        task.params[item.name] = item.default_value
