"""Which values may be arguments of a step."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.model.inputs import DataInput
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.model.reference import PipelineDataReference

_PLAIN = (str, int, float, bool)
_DATA = (StepOutput, DataInput, SourceDataset, PipelineDataReference)


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


def check_items(items: Any, who: str, keyword: str, kinds: tuple[type, ...]) -> None:
    """Raise DefinitionError unless *items* is a list of values of *kinds*."""
    from airflow.sdk.definitions._internal.mixins import ResolveMixin

    if isinstance(items, (list, tuple)):
        wrong: Iterable[Any] = [item for item in items if not isinstance(item, (*kinds, ResolveMixin))]
    else:
        wrong = [items]
    for item in wrong:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise DefinitionError(f"{who}: {keyword} holds {item!r}; it must be a list of {names}")


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
