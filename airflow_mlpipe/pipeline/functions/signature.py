"""What a step's function asks for and what it returns, as far as its signature says."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typing_extensions
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import RESERVED_NAMES
from airflow_mlpipe.model.declaration import checked_name
from airflow_mlpipe.runtime.annotations import alternatives, bare, is_output, is_pickle

ReturnKind = Literal["nothing", "value", "mapping", "fields"]


@dataclass(frozen=True)
class Parameter:
    """A parameter that the caller passes. ``hint`` is Any when there is none that can be evaluated here.

    ``takes_pickle``: whether it is marked as one that a pickle may be read for.
    """

    name: str
    hint: Any = Any
    default: Any = inspect.Parameter.empty
    takes_pickle: bool = False

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def wants_path(self) -> bool:
        """Whether the function asks for one path."""
        return wants_path(self.hint)


@dataclass(frozen=True)
class Returns:
    """What a function returns.

    ``nothing``, one ``value``, a ``mapping`` of which each key becomes a result of its own, or an object with
    the ``fields`` that do.
    """

    kind: ReturnKind
    fields: tuple[str, ...] = ()

    @property
    def unrolls(self) -> bool:
        return self.kind in ("mapping", "fields")


@dataclass(frozen=True)
class FunctionSignature:
    """The parameters that the caller passes, by name, and the outputs that the function fills."""

    who: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[str, ...]
    returns: Returns

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        who: str,
        *,
        multiple_outputs: bool | None,
        returns_value: bool,
    ) -> FunctionSignature:
        """Read the signature of *function*.

        *multiple_outputs* is what the author says of unrolling, None when nothing (the rule of Airflow's
        ``@task``); *returns_value* whether the body returns a value. Raises DefinitionError for what a step
        cannot have.
        """
        hints = _Hints(function)
        parameters, outputs = {}, []
        for name, parameter in inspect.signature(function).parameters.items():
            _check_parameter(parameter, who)
            hint = hints.of(parameter.annotation)
            if is_output(hint):
                outputs.append(_checked_output(name, hint, who))
            else:
                parameters[name] = Parameter(name, bare(hint), parameter.default, _takes_pickle(hint))
        annotation = getattr(function, "__annotations__", {}).get("return", inspect.Parameter.empty)
        returns = _returns(annotation, hints, multiple_outputs, returns_value)
        for name in returns.fields:
            _check_field(name, outputs, who)
        return cls(who, parameters, tuple(outputs), returns)

    def check_names(self, names: Mapping[str, Any], doing: str = "is called with") -> None:
        """Raise DefinitionError for a name that is no parameter, or that of an output."""
        for name in names:
            if name in self.outputs:
                raise DefinitionError(
                    f"{self.who} {doing} {name}=..., which is an output: the function fills it, and "
                    f"the result's [{name!r}] is the reference to it; leave it out"
                )
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise DefinitionError(f"{self.who} {doing} {name}=..., but its parameters are: {known}")

    def check_complete(self, names: Mapping[str, Any]) -> None:
        """Raise DefinitionError unless every parameter without a default is among *names*."""
        missing = [p.name for p in self.parameters.values() if p.is_required and p.name not in names]
        if missing:
            raise DefinitionError(f"{self.who} is called without {', '.join(missing)}; pass a value for it")


def without_outputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* as its callers see it: with a signature that lacks the outputs."""
    hints = _Hints(function)
    signature = inspect.signature(function)
    passed = [item for item in signature.parameters.values() if not is_output(hints.of(item.annotation))]

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # An output without a default may stand before parameters that have none, never the other way round.
    vars(stand_in)["__signature__"] = signature.replace(parameters=passed)
    return stand_in


def wants_path(hint: Any) -> bool:
    """Whether *hint* asks for one path."""
    return any(isinstance(item, type) and issubclass(item, Path) for item in map(bare, alternatives(hint)))


def _takes_pickle(hint: Any) -> bool:
    """Whether *hint*, or what it holds, is marked ``Pickle``."""
    return is_pickle(hint) or any(
        map(_takes_pickle, (item for member in alternatives(hint) for item in typing.get_args(bare(member))))
    )


class _Hints:
    """Evaluates annotations one by one: one that cannot be evaluated here says nothing about the others.

    A name may be missing here that is there when the function runs, in the step's environment.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._globals = getattr(inspect.unwrap(function), "__globals__", {})

    def of(self, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        holder: Any = type("holder", (), {"__annotations__": {"hint": annotation}})
        try:
            return typing_extensions.get_type_hints(holder, self._globals, include_extras=True)["hint"]
        except Exception:
            return Any


def _check_parameter(parameter: inspect.Parameter, who: str) -> None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise DefinitionError(
            f"{who}: its function takes {stars}{name}; a step's parameters each have a name, so that it can "
            "be said which of them changed: name them"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise DefinitionError(f"{who}: parameter {name!r} is positional only; a step is called by names")
    if name in KNOWN_CONTEXT_KEYS:
        raise DefinitionError(
            f"{who}: parameter {name!r} is named like a value of Airflow's context, which a step's function "
            "is not given, since each run would then be another one; give it another name and pass a value, "
            f"such as my_{name}='{{{{ {name} }}}}'"
        )


def _checked_output(name: str, hint: Any, who: str) -> str:
    if not wants_path(bare(hint)):
        raise DefinitionError(
            f"{who}: output {name!r} is annotated Output[{getattr(bare(hint), '__name__', bare(hint))}]; an "
            "output is a path that the function fills: annotate Output[Path], or return the value"
        )
    if name in RESERVED_NAMES:
        raise DefinitionError(f"{who}: output name {name!r} is taken; use for example {name + '_data'!r}")
    return checked_name("output", name)


def _check_field(name: str, outputs: list[str], who: str) -> None:
    if name in RESERVED_NAMES:
        raise DefinitionError(f"{who}: the returned field {name!r} has a name that is taken; rename it")
    if name in outputs:
        raise DefinitionError(
            f"{who}: {name!r} would be written twice, by the Output parameter and by the returned field of "
            "that name; rename one of them"
        )
    checked_name("field", name)


def _returns(annotation: Any, hints: _Hints, multiple_outputs: bool | None, returns_value: bool) -> Returns:
    if annotation is inspect.Parameter.empty:
        kind: ReturnKind = "value" if returns_value else "nothing"
        return Returns("mapping" if multiple_outputs else kind)
    hint = bare(hints.of(annotation))
    if hint in (None, type(None)):
        return Returns("nothing")
    if multiple_outputs is False:
        return Returns("value")
    if fields := _fields(hint):
        return Returns("fields", fields)
    origin = typing.get_origin(hint) or hint
    is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
    return Returns("mapping" if multiple_outputs or is_mapping else "value")


def _fields(hint: Any) -> tuple[str, ...]:
    """The names of the fields of a NamedTuple, dataclass or TypedDict; none for anything else."""
    if typing_extensions.is_typeddict(hint):
        return tuple(hint.__annotations__) if hint.__total__ else ()
    if not isinstance(hint, type):
        return ()
    if issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return tuple(hint._fields)
    return tuple(field.name for field in dataclasses.fields(hint)) if dataclasses.is_dataclass(hint) else ()
