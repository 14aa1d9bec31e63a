"""Libraries that come into a step with its data: its code works with them, and need not import them."""

from __future__ import annotations

import sys
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.pipeline.functions.call import FunctionCall, Tree
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.runtime.annotations import alternatives, bare
from airflow_mlpipe.runtime.artifacts.registry import libraries
from airflow_mlpipe.runtime.hints import class_of

_WITHOUT_LIBRARY = (PurePath, str, bytes, bytearray, int, float, type(None))


def with_data_libraries(
    code: Code, call: FunctionCall | None, binding: Binding, installed: Collection[str]
) -> Code:
    """*code* as one that imports also what its data may be made of, as far as that is among *installed*.

    A table is read by pyarrow, and becomes one of any library that has a word for it. A parameter whose
    annotation names a class has the class's library imported; by any other annotation, a value may be of each
    library that has an artifact format. A pickle may hold objects of any library, so that all that is
    installed may matter.
    """
    found = set()
    for bound in binding.inputs.values():
        if bound.tabular is not None:
            found |= {"pandas", "polars", "pyarrow"}
    if call is not None:
        for name, tree in binding.parameters.items():
            parameter = call.signature.parameters[name]
            if not _holds_values(tree, binding.inputs):
                continue
            if parameter.takes_pickle:
                why = f"parameter {name!r} is a pickle, which may be made of any library"
                code = replace(code, why_open=code.why_open or why)
            if not _names_its_library(parameter.hint):
                found |= libraries()
    return replace(code, external=tuple(sorted({*code.external, *found.intersection(installed)})))


def _holds_values(tree: Tree, inputs: Mapping[str, BoundInput]) -> bool:
    """Whether there is data in *tree* of which a typed value may be read."""
    if "input" in tree:
        bound = inputs[tree["input"]]
        return bound.tabular is None and bound.mode != "direct"
    inner = (*tree.get("list", ()), *tree.get("dict", {}).values())
    return any(_holds_values(item, inputs) for item in inner)


def _names_its_library(hint: Any) -> bool:
    """Whether values of *hint* are of no library, or of one that the code imports in order to write it."""
    return all(_is_of_known_library(member) for member in alternatives(hint))


def _is_of_known_library(hint: Any) -> bool:
    kind = class_of(hint)
    if issubclass(kind, _WITHOUT_LIBRARY):
        return True
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names:
        inner = list(_item_hints(bare(hint)))
        return bool(inner) and all(map(_names_its_library, inner))
    return not getattr(kind, "_is_protocol", False)


def _item_hints(hint: Any) -> Iterator[Any]:
    """What a container of *hint* holds; nothing when it does not tell."""
    return (item for item in typing.get_args(hint) if item is not ...)
