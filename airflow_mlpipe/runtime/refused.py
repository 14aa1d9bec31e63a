"""Names that scripts know from SDK v1, and that there are not here."""

from __future__ import annotations

from typing import Any, NoReturn

from airflow_mlpipe.errors import MLPipeError


class UnsupportedError(MLPipeError, AttributeError):
    """A script asks for something that SDK v1 had; the message says what to use instead."""


class Refused:
    """An attribute that is not there: ``hasattr`` is False, and whoever asks is told what to do instead."""

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if self._name:  # the same advice for another name
            other = Refused(self._advice)
            other._name = name
            setattr(owner, name, other)
        else:
            self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise UnsupportedError(f"{owner.__name__}.{self._name} is not supported in a step: {self._advice}")


def refuse_values(what: str, given: dict[str, Any], supported: str) -> None:
    """Raise UnsupportedError for the first of *given* that is neither None nor False: nobody heeds it."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"{what} has no {name}, which is {value!r} here; {supported}")
