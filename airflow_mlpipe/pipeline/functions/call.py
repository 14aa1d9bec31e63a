"""One call of a step's function: what the author passes, and what this run makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature, Parameter
from airflow_mlpipe.pipeline.functions.values import WrongValue, as_json, checked, is_known_now, leaves

Tree = dict[str, Any]
"""An argument as :class:`~airflow_mlpipe.records.CallSpec` describes it."""

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class FunctionCall:
    """A call of a function with ``values`` by parameter name."""

    signature: FunctionSignature
    values: Mapping[str, Any]

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts among the values."""
        return tuple(leaf for leaf in leaves(self.values) if isinstance(leaf, str))

    @property
    def parameters(self) -> tuple[PipelineParameter, ...]:
        """The pipeline parameters among the values."""
        return tuple(leaf for leaf in leaves(self.values) if isinstance(leaf, PipelineParameter))

    def check(self) -> None:
        """Raise DefinitionError for a value that is known while the DAG is parsed and cannot be passed."""
        for name, value in self.values.items():
            if is_known_now(value):
                try:
                    _checked(self.signature.parameters[name], value)
                except WrongValue as error:
                    raise DefinitionError(f"{self.signature.who}: {error}") from None

    def complete(self) -> Mapping[str, Any]:
        """The values together with the defaults that are plain JSON, so that either way of passing is one."""
        defaults = {
            name: parameter.default
            for name, parameter in self.signature.parameters.items()
            if type(parameter.default) in _PLAIN and _is_finite(parameter.default)
        }
        return {**defaults, **self.values}


def _checked(parameter: Parameter, value: Any) -> Any:
    """*value* as JSON, if it can be passed to *parameter*; else WrongValue."""
    if _is_default(parameter, value):
        return as_json(value, f"parameter {parameter.name!r}")
    return checked(parameter, value)


def _is_default(parameter: Parameter, value: Any) -> bool:
    """Whether the author has said by a default that *value* is right, such as None for a text."""
    is_simple = type(value) in (*_PLAIN, list, tuple, dict)
    return is_simple and type(value) is type(parameter.default) and bool(value == parameter.default)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class TreeMaker:
    """Makes trees of rendered values. *enter* takes data and a name in as an input, and returns its name.

    *parameter_value* has the run's value of a pipeline parameter; *as_data* turns what it is given into
    something that can be entered, one tree of files where *whole* is set, or returns None when it is no data.
    """

    def __init__(
        self,
        signature: FunctionSignature,
        enter: Callable[[Any, str], str],
        as_data: Callable[[Any, bool], Any],
        parameter_value: Callable[[PipelineParameter], Any],
    ) -> None:
        self._signature = signature
        self._enter = enter
        self._as_data = as_data
        self._parameter_value = parameter_value

    def tree(self, name: str, value: Any) -> Tree:
        """The tree of the value of a parameter. DefinitionError for one that cannot be passed.

        Another try would be given the same value, so that it is no UserError.
        """
        parameter = self._signature.parameters[name]
        tree = self._tree(value, name, parameter.wants_path)
        try:
            if _is_plain(tree):
                return {"value": _checked(parameter, _plain(tree))}
            if parameter.wants_path and not tree.keys() & {"input", "missing"}:
                raise WrongValue(
                    f"parameter {name!r} is a path and was given a {next(iter(tree))} that is none; pass one "
                    "output, or the results of a mapped step, of which at least one is there"
                )
            return _with_json(tree, f"parameter {name!r}")
        except WrongValue as error:
            raise DefinitionError(f"{self._signature.who}: {error}") from None

    def _tree(self, value: Any, name: str, whole: bool) -> Tree:
        from airflow_mlpipe.pipeline.mapped_results import MISSING

        if isinstance(value, PipelineParameter):
            value = self._parameter_value(value)
        if value is MISSING:
            return {"missing": True}
        if (data := self._as_data(value, whole)) is not None:
            return {"input": self._enter(data, name)}
        if isinstance(value, (list, tuple)):
            return {"list": [self._tree(item, f"{name}_{index}", False) for index, item in enumerate(value)]}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self._tree(item, f"{name}_{key}", False) for key, item in value.items()}}
        return {"value": value}


def _is_plain(tree: Tree) -> bool:
    """Whether there is neither data in *tree* nor a place where some is missing."""
    if "list" in tree:
        return all(_is_plain(item) for item in tree["list"])
    if "dict" in tree:
        return all(_is_plain(item) for item in tree["dict"].values())
    return "value" in tree


def _with_json(tree: Tree, where: str) -> Tree:
    """*tree* with values as JSON beside its data; WrongValue for one that is not."""
    if "list" in tree:
        return {"list": [_with_json(item, f"{where}[{index}]") for index, item in enumerate(tree["list"])]}
    if "dict" in tree:
        return {"dict": {key: _with_json(item, f"{where}[{key!r}]") for key, item in tree["dict"].items()}}
    return {"value": as_json(tree["value"], where)} if "value" in tree else tree


def _plain(tree: Tree) -> Any:
    if "list" in tree:
        return [_plain(item) for item in tree["list"]]
    if "dict" in tree:
        return {key: _plain(item) for key, item in tree["dict"].items()}
    return tree["value"]
