"""Which values may be arguments of a step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.model.inputs import DataInput
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.model.query import QueryDataset
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.model.registered import RegisteredSource

_PLAIN = (str, int, float, bool)
_DATA = (StepOutput, DataInput, SourceDataset, QueryDataset, RegisteredSource, PipelineDataReference)


def check_arguments(arguments: Any, who: str) -> None:
    """Raise DefinitionError unless *arguments* is a list of which every item can be one argv item.

    Items: str, int, float, bool, outputs, inputs, datasets, parameters, and whatever Airflow resolves
    before the task runs (XComArg and its kin).
    """
    from airflow.sdk.definitions._internal.mixins import ResolveMixin

    if isinstance(arguments, ResolveMixin):
        return
    if not isinstance(arguments, (list, tuple)):
        raise DefinitionError(
            f"{who}: arguments is {arguments!r}; it must be a list with one item for each argv item"
        )
    for position, item in enumerate(arguments, start=1):
        if isinstance(item, (*_PLAIN, *_DATA, PipelineParameter, ResolveMixin)):
            if isinstance(item, str) and "\0" in item:
                raise DefinitionError(f"{who}: argument {position} holds a NUL character: {item!r}")
            continue
        raise DefinitionError(f"{who}: argument {position} is {item!r}: {_why_not(item)}")


def check_inputs(items: Any, who: str) -> None:
    """Raise DefinitionError unless *items* is a list of data, or of what Airflow resolves to data."""
    from airflow.sdk.definitions._internal.mixins import ResolveMixin

    names = "datasets, outputs of other steps, and what as_named_input() or as_input() makes of them"
    _check_items(items, (*_DATA, ResolveMixin), f"{who}: inputs", names)


def check_outputs(items: Any, who: str) -> None:
    """Raise DefinitionError unless *items* is a list of outputs: they are known when the DAG is parsed."""
    _check_items(items, (StepOutput,), f"{who}: outputs", "PipelineData and OutputFileDatasetConfig")


def check_variables(variables: Mapping[str, Any], who: str) -> None:
    """Raise DefinitionError unless *variables* maps names to texts, or to what Airflow resolves to a text."""
    from airflow.sdk.definitions._internal.mixins import ResolveMixin

    for name, value in variables.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise DefinitionError(f"{who}: {name!r} is not a name for an environment variable")
        if not isinstance(value, (str, ResolveMixin)):
            raise DefinitionError(f"{who}: environment variable {name} is {value!r}; it must be a text")


def _check_items(items: Any, kinds: tuple[type, ...], what: str, names: str) -> None:
    wrong = [items]
    if isinstance(items, (list, tuple)):
        wrong = [item for item in items if not isinstance(item, kinds)]
    if wrong:
        raise DefinitionError(f"{what} holds {wrong[0]!r}; it must be a list of {names}")


def _why_not(item: Any) -> str:
    if item is None:
        return "None is not an argument; leave it out"
    if isinstance(item, (list, tuple)):
        return "a list within the list; spread it with *"
    if isinstance(item, os.PathLike):
        return "a path of this machine; use a Dataset, or str() if it means the same on every machine"
    return (
        f"a value of type {type(item).__qualname__} cannot be written on a command line nor hashed; "
        "use str, int, float, bool, PipelineData, a dataset or a PipelineParameter"
    )
