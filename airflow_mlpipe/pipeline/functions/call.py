"""One call of a step's function: what the author passes, and what this run makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature, Parameter
from airflow_mlpipe.pipeline.functions.values import WrongValue, checked, is_known_now, leaves

Tree = dict[str, Any]
"""An argument as :class:`~airflow_mlpipe.records.CallSpec` describes it."""


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
            if is_known_now(value) and not _is_default(self.signature.parameters[name], value):
                try:
                    checked(self.signature.parameters[name], value)
                except WrongValue as error:
                    raise DefinitionError(f"{self.signature.who}: {error}") from None

    def complete(self) -> Mapping[str, Any]:
        """The values together with the defaults that are plain JSON, so that either way of passing is one."""
        defaults = {
            name: parameter.default
            for name, parameter in self.signature.parameters.items()
            if isinstance(parameter.default, (bool, int, float, str, type(None)))
        }
        return {**defaults, **self.values}


def _is_default(parameter: Parameter, value: Any) -> bool:
    """Whether the author has said by a default that *value* is right, such as None for a text."""
    return type(value) is type(parameter.default) and bool(value == parameter.default)


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
        """The tree of the value of a parameter. Raises UserError for one that cannot be passed."""
        parameter = self._signature.parameters[name]
        tree = self._tree(value, name, parameter.wants_path)
        try:
            if not _is_plain(tree):
                return tree
            plain = _plain(tree)
            return {"value": plain if _is_default(parameter, plain) else checked(parameter, plain)}
        except WrongValue as error:
            raise UserError(f"{self._signature.who}: {error}") from None

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


def _plain(tree: Tree) -> Any:
    if "list" in tree:
        return [_plain(item) for item in tree["list"]]
    if "dict" in tree:
        return {key: _plain(item) for key, item in tree["dict"].items()}
    return tree["value"]
