"""The annotations of a step's function: ``Input``, ``Output`` and ``Pickle``.

When the program runs, each is ``typing.Annotated`` with a marker; a type checker sees an ``Input[Path]`` as a
``Path`` that callers may give anything, and the other two as the type inside.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

T = TypeVar("T")


class Marker:
    """What an annotation says beyond its type; there is one instance for each of the three."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class _WrittenByTheFunction:
    def __repr__(self) -> str:
        return "OUTPUT"

    def __reduce__(self) -> str:  # copied or sent elsewhere, it stays the one that there is
        return "OUTPUT"


INPUT_MARKER = Marker("Input")
OUTPUT_MARKER = Marker("Output")
PICKLE_MARKER = Marker("Pickle")

if TYPE_CHECKING:
    Input = Union[T, Any]  # noqa: UP007 - a subscriptable alias needs the old form
    Output = Annotated[T, "a path that the function fills"]
    Pickle = Annotated[T, "handed on by pickle"]
else:
    Input = Annotated[T, INPUT_MARKER]
    Output = Annotated[T, OUTPUT_MARKER]
    Pickle = Annotated[T, PICKLE_MARKER]

OUTPUT: Any = _WrittenByTheFunction()
"""The default of an ``Output`` parameter, for type checkers: the caller never passes one."""


def is_input(hint: Any) -> bool:
    """Whether *hint* is ``Input[...]``, or a union with one."""
    return _has(hint, INPUT_MARKER)


def is_output(hint: Any) -> bool:
    """Whether *hint* is ``Output[...]``, or a union with one."""
    return _has(hint, OUTPUT_MARKER)


def is_pickle(hint: Any) -> bool:
    """Whether *hint* is ``Pickle[...]``, or a union with one."""
    return _has(hint, PICKLE_MARKER)


def bare(hint: Any) -> Any:
    """*hint* without the markers around it: Path for ``Input[Path]``, Any for ``Input`` alone.

    The markers inside, as in ``list[Pickle[Model]]`` or ``Input[Path] | None``, stay.
    """
    while typing.get_origin(hint) is Annotated:
        hint = hint.__origin__
    return Any if isinstance(hint, TypeVar) else hint


def alternatives(hint: Any) -> list[Any]:
    """The members of a union but None, each with its markers; *hint* alone when it is no union.

    Markers around a union count for each member: ``Pickle[A | B]`` is ``[Pickle[A], Pickle[B]]``.
    """
    inner = bare(hint)
    if typing.get_origin(inner) not in (Union, types.UnionType):
        return [hint]
    markers = getattr(hint, "__metadata__", ())
    members = [member for member in typing.get_args(inner) if member is not type(None)]
    return [functools.reduce(_marked, markers, member) for member in members]


def _marked(hint: Any, marker: object) -> Any:
    return Annotated[hint, marker]


def _has(hint: Any, marker: Marker) -> bool:
    return any(marker in getattr(member, "__metadata__", ()) for member in alternatives(hint))
