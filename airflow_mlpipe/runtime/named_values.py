"""Values by name, for scripts: asking for a name that there is not gives a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from airflow_mlpipe.errors import MLPipeError

ValueT = TypeVar("ValueT")


class UnknownNameError(MLPipeError, KeyError):
    """The step has nothing of that name."""

    def __str__(self) -> str:  # KeyError's own would put the sentence in quotes
        return str(self.args[0])


class NamedValues(dict[str, ValueT]):
    """A dict whose KeyError is a sentence that lists the names there are, and what to do when *advice* says.

    *others* are further names under which values are found, but not listed.
    """

    def __init__(
        self,
        noun: str,
        values: Mapping[str, ValueT],
        *,
        others: Mapping[str, ValueT] | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(values)
        self._noun = noun
        self._others = dict(others or {})
        self._advice = advice

    def __missing__(self, name: str) -> ValueT:
        if name not in self._others:
            self._refuse(name)
        return self._others[name]

    def _refuse(self, name: str) -> NoReturn:
        names = ", ".join(map(repr, sorted(self))) or "none at all"
        advice = f"; {self._advice.format(name=name)}" if self._advice else ""
        raise UnknownNameError(f"this step has no {self._noun} named {name!r}; it has: {names}{advice}")
