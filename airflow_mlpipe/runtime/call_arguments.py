"""From the trees of a call's spec to the arguments that its function takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.errors import DocumentError, MLPipeError, UserError
from airflow_mlpipe.records import CallSpec, InputSpec, LaunchSpec
from airflow_mlpipe.runtime.annotations import alternatives
from airflow_mlpipe.runtime.artifacts.artifact import is_artifact, read_artifact
from airflow_mlpipe.runtime.artifacts.registry import dotted_name
from airflow_mlpipe.runtime.hints import UnevaluatedHint, class_of, hints_of, is_path, item_hints, value_hint

if TYPE_CHECKING:
    from airflow_mlpipe.runtime.tabular import TabularDataset


def arguments_of(function: Callable[..., Any], call: CallSpec, spec: LaunchSpec) -> dict[str, Any]:
    """The arguments of *function* by name, each as its annotation asks for it; outputs are paths.

    Raises UserError when one cannot be had as it is annotated, or not at all.
    """
    hints = hints_of(function)
    arguments: dict[str, Any] = {}
    for name, tree in call.parameters.items():
        hint = hints.get(name, Any)
        try:
            arguments[name] = _decoded(tree, hint, spec.inputs)
        except MLPipeError as error:
            raise UserError(f"{call.function} cannot be given its parameter {name!r}: {error}") from error
        if isinstance(hint, UnevaluatedHint) and "value" not in tree and not hint.fits(arguments[name]):
            sys.stdout.write(
                f"airflow_mlpipe: the annotation of {name!r} cannot be evaluated in the step's process "
                f"({hint.why}), so its value is handed over as if there were none\n"
            )
    return {**arguments, **{name: Path(spec.outputs[name].path) for name in call.outputs}}


def _decoded(tree: Any, hint: Any, inputs: Mapping[str, InputSpec]) -> Any:
    match tree:
        case {"value": value}:
            return _shaped(value, hint)
        case {"input": str(name)} if name in inputs:
            return _input(name, inputs[name], hint)
        case {"list": list(items)}:
            hints = item_hints(hint)
            return _as_sequence([_decoded(item, next(hints), inputs) for item in items], hint)
        case {"dict": dict(items)}:
            return {key: _decoded(item, value_hint(hint, key), inputs) for key, item in items.items()}
        case {"missing": True}:
            return None
    raise DocumentError(f"the launch spec describes it as {tree!r}, which is nothing that this version knows")


def _shaped(value: Any, hint: Any) -> Any:
    """JSON as *hint* has it: a list is a tuple, and a text a path, where only that is wanted."""
    if type(value) is list:
        return _as_sequence(list(map(_shaped, value, item_hints(hint))), hint)
    if type(value) is dict:
        return {key: _shaped(item, value_hint(hint, key)) for key, item in value.items()}
    return Path(value) if type(value) is str and is_path(hint) else value


def _as_sequence(items: list[Any], hint: Any) -> list[Any] | tuple[Any, ...]:
    return tuple(items) if all(class_of(member) is tuple for member in alternatives(hint)) else items


def _input(name: str, spec: InputSpec, hint: Any) -> Any:
    classes = [class_of(member) for member in alternatives(hint)]
    if spec.kind == "tabular":
        return _table(name, spec, classes)
    location = spec.paths[0]
    if "://" in location:
        if object in classes or str in classes:
            return location
        raise UserError(f"it is read directly from {location}; annotate it as str")
    if is_artifact(path := Path(location)):
        return _shaped(read_artifact(path, hint), hint)
    if object in classes or any(map(is_path, classes)):
        return path
    kind = "folder" if path.is_dir() else "file"
    raise UserError(
        f"it is a {kind} without a recorded type, not of type {_listed(classes)}; annotate it as Path"
    )


def _table(name: str, spec: InputSpec, classes: list[type]) -> Any:
    from airflow_mlpipe.runtime.tabular import TabularDataset  # most steps have none

    table = TabularDataset(spec.paths, spec.definition, name=name)
    for kind in classes:
        if kind in (object, TabularDataset):
            return table
        if convert := _CONVERSIONS.get(dotted_name(kind)):
            return convert(table)
    raise UserError(
        f"it is a tabular dataset, not of type {_listed(classes)}; annotate it as TabularDataset, "
        "as a DataFrame of pandas or polars, or as a Table of pyarrow"
    )


# The library of each is there: the annotation that asks for it was evaluated.
_CONVERSIONS: dict[str, Callable[[TabularDataset], Any]] = {
    "pandas.DataFrame": lambda table: table.to_pandas_dataframe(),
    "pandas.core.frame.DataFrame": lambda table: table.to_pandas_dataframe(),
    "polars.dataframe.frame.DataFrame": lambda table: table.to_polars(),
    "pyarrow.lib.Table": lambda table: table.to_pyarrow(),
}


def _listed(classes: list[type]) -> str:
    return " or ".join(map(dotted_name, classes))
