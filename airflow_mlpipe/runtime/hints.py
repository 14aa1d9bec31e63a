"""Annotations as they are when a function is called: evaluated, and looked into."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from airflow_mlpipe.runtime.annotations import alternatives, bare


class UnevaluatedHint:
    """An *annotation* that has no value here, and *why*; no type, so that it asks for nothing."""

    def __init__(self, annotation: str, why: str) -> None:
        self.annotation = annotation
        self.why = why

    def fits(self, value: object) -> bool:
        """Whether the annotation has the name of the type of *value*, or of one of its bases."""
        names = re.findall(r"\w+", self.annotation)
        return any(base.__name__ in names for base in type(value).__mro__)


def hints_of(owner: Any) -> dict[str, Any]:
    """The annotations of a function or class, with markers, each evaluated on its own.

    One that cannot be evaluated, because what it names is imported for type checkers only, is an
    :class:`UnevaluatedHint`.
    """
    if not isinstance(owner, type):
        namespace = getattr(inspect.unwrap(owner), "__globals__", {})
        return _evaluated(inspect.get_annotations(owner), namespace)
    hints: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        module = sys.modules.get(base.__module__)
        hints.update(_evaluated(inspect.get_annotations(base), getattr(module, "__dict__", {})))
    return hints


def class_of(hint: Any) -> type:
    """The class that values of *hint* are instances of; object when *hint* does not tell."""
    inner = bare(hint)
    kind = typing.get_origin(inner) or inner
    if _is_typed_dict(kind):
        return dict
    return kind if isinstance(kind, type) and kind is not Any else object  # Any became a class in Python 3.11


def is_path(hint: Any) -> bool:
    """Whether a path is wanted, and nothing else."""
    kinds = [class_of(member) for member in alternatives(hint)]
    return all(kind is os.PathLike or issubclass(kind, PurePath) for kind in kinds)


def item_hints(hint: Any) -> Iterator[Any]:
    """The annotations of the items of a list or tuple of *hint*, without end; Any where it does not tell."""
    for member in alternatives(hint):
        kind, arguments = class_of(member), typing.get_args(bare(member))
        if kind is tuple and arguments[-1:] != (...,):
            return itertools.chain(arguments, itertools.repeat(Any))
        if arguments and not issubclass(kind, Mapping):
            return itertools.repeat(arguments[0])
    return itertools.repeat(Any)


def value_hint(hint: Any, key: str) -> Any:
    """The annotation of what *hint* has at a key or field; Any when it does not tell."""
    for member in alternatives(hint):
        inner = bare(member)
        arguments = typing.get_args(inner)
        if issubclass(class_of(inner), Mapping) and len(arguments) == 2:
            return arguments[1]
        if _is_typed_dict(inner) or dataclasses.is_dataclass(inner) or hasattr(inner, "_fields"):
            return hints_of(inner).get(key, Any)
    return Any


def _is_typed_dict(hint: Any) -> bool:
    return isinstance(getattr(hint, "__total__", None), bool)  # also that of typing_extensions


def _evaluated(annotations: Mapping[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    hints = {}
    for name, annotation in annotations.items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hint = typing.get_type_hints(alone, globalns=namespace, include_extras=True)[name]
        except Exception as error:  # an annotation is an expression, and may raise anything
            hint = UnevaluatedHint(str(annotation), str(error))
        hints[name] = _without_requirement(hint)
    return hints


def _without_requirement(hint: Any) -> Any:
    """What is in a TypedDict's ``Required[...]`` or ``NotRequired[...]``, whichever module they are from."""
    name = getattr(typing.get_origin(hint), "_name", None)
    return typing.get_args(hint)[0] if name in ("Required", "NotRequired") else hint
