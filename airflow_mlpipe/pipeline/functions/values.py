"""Values that are passed to a step's function: which they may be, and that they are of the annotated type."""

from __future__ import annotations

import functools
import json
import math
import types
import typing
from collections import abc
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.model.inputs import DataInput
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.model.query import QueryDataset
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.model.registered import RegisteredSource
from airflow_mlpipe.pipeline.functions.signature import Parameter, wants_path

DATA = (StepOutput, DataInput, SourceDataset, QueryDataset, RegisteredSource, PipelineDataReference)
_EXACT = (bool, int, str)
# What a list or a dict is as well, of which pydantic asks for no more than that or reads none of.
_LOOSE = (abc.Iterable, abc.Collection, abc.Container, abc.Reversible, abc.Sized)
_WHOSE_NONE = ", which is also what a task hands on that was skipped or returned nothing"


class WrongValue(MLPipeError, ValueError):
    """A value cannot be passed to a parameter; the message says why."""


def checked(parameter: Parameter, value: Any) -> Any:
    """*value* as JSON, if the function may be called with it; whole numbers become floats for a float.

    Raises WrongValue.
    """
    where = f"parameter {parameter.name!r}"
    plain = as_json(value, where)
    if plain is None and type(None) in typing.get_args(parameter.hint):
        return None
    if wants_path(parameter.hint):
        if plain is None:
            raise WrongValue(f"{where} is a path and was given None{_WHOSE_NONE}")
        raise WrongValue(
            f"{where} is a path and was given {value!r}; pass the output of a step or a dataset, such as "
            f"Dataset.File.from_files({value!r}), whose content counts"
        )
    if parameter.hint is Any or (type(plain) is parameter.hint and isinstance(plain, _EXACT)):
        return plain
    adapter = _adapter(parameter.hint)
    if adapter is None:
        return plain
    name = _name(parameter.hint)
    try:
        typed = adapter.validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        detail = _WHOSE_NONE if value is None else _detail(error)
        raise WrongValue(f"{where} is {value!r}; the function asks for {name}{detail}") from None
    try:
        return as_json(typed, where)
    except WrongValue:
        raise WrongValue(
            f"{where} is annotated {name}, which JSON does not have; parameters travel as JSON: annotate and "
            "pass a text, a number, a list or a dict"
        ) from None


def as_json(value: Any, where: str) -> Any:
    """*value* with tuples as lists, if JSON can hold it exactly; else WrongValue."""
    if isinstance(value, Enum):
        raise WrongValue(
            f"{where} is {value!r}, and the step's process would get no more than its value; pass that, "
            f"{type(value).__name__}.{value.name}.value"
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise WrongValue(f"{where} is {value!r}, which JSON does not have; pass None or a text for it")
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [as_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, where): as_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    if getattr(value, "_airflow_is_task_decorator", False):
        name = value.function.__name__
        raise WrongValue(f"{where} is {name} itself, which was not called; pass {name}(...)")
    raise WrongValue(
        f"{where} is {_shortened(value)} of type {type(value).__qualname__}, which cannot travel to the "
        "step's process: pass JSON values (text, numbers, lists, dicts), data of a step, or a dataset"
    )


def is_known_now(value: Any) -> bool:
    """Whether nothing in *value* waits for the run: no data, parameter, XComArg or template."""
    from airflow.sdk.definitions._internal.mixins import ResolveMixin

    return not any(
        isinstance(leaf, (*DATA, PipelineParameter, ResolveMixin))
        or (isinstance(leaf, str) and ("{{" in leaf or "{%" in leaf))
        for leaf in leaves(value)
    )


def leaves(value: Any) -> Iterator[Any]:
    """Everything in nested lists, tuples and dicts."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def _text(value: str, where: str) -> str:
    text = str.__str__(value)  # a subclass may print itself in another way
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongValue(f"{where} is {value!r}, a text that is not Unicode ({error}); mend it") from None
    return text


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return _text(key, where)
    raise WrongValue(f"{where} has the key {key!r} of type {type(key).__qualname__}; keys must be texts")


@functools.lru_cache(maxsize=512)
def _adapter_of(hint: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # models and dataclasses bring a configuration of their own
        try:
            return TypeAdapter(hint)
        except PydanticUserError:
            return None


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks values of *hint*; None when nothing can."""
    try:
        return _adapter_of(_checkable(hint))
    except TypeError:  # a hint that cannot be hashed, such as Annotated[int, []]
        return None


def _checkable(hint: Any) -> Any:
    """*hint* with lists and dicts in place of what only says that something can be done with them."""
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_checkable, arguments))]  # noqa: UP007 - made of what is found
    if kind in _LOOSE:
        return list[arguments[0] if arguments else Any] | dict[str, Any]  # type: ignore[misc]
    return hint


def _name(hint: Any) -> str:
    if isinstance(hint, type):
        return hint.__qualname__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def _detail(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part!r}]" for part in first["loc"])
    return f" ({where}: {first['msg']})" if where else ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
