"""The common ground of everything a DAG author declares."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import DefinitionError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

CONFIDENTIAL = "confidential"
"""The type of a PydanticCustomError whose input is not to be told."""

_WITHOUT_VALUE = ("missing", "extra_forbidden", CONFIDENTIAL)

# What an author is to write, in place of the words that pydantic has for these types of mistakes.
_INSTEAD = {
    "dict_type": "write a mapping of names to values",
    "string_too_short": "it is empty: write at least one character",
    "string_type": "write a text, in quotation marks",
    "time_delta_parsing": "write a number of seconds, a text such as '00:30:00', or a timedelta",
    "time_delta_type": "write a number of seconds, a text such as '00:30:00', or a timedelta",
}


class Declaration(BaseModel):
    """A frozen value that is checked when it is written.

    A wrong field raises DefinitionError with one sentence for each mistake, so that the author reads
    it in Airflow's import errors instead of a validation dump.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise DefinitionError(_sentences(type(self), error)) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.get_default(call_default_factory=True):
                yield name, value

    def __str__(self) -> str:
        return repr(self)


def _sentences(kind: type[Declaration], error: ValidationError) -> str:
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "value"
        message = _message(mistake, kind.model_fields)
        given = f" (given: {mistake['input']!r})"
        if mistake["type"] in _WITHOUT_VALUE or repr(mistake["input"]) in message or "(given: " in message:
            given = ""
        lines.append(f"{kind.__name__}.{where}: {message}{given}")
    return "; ".join(lines)


def _message(mistake: Mapping[str, Any], fields: Collection[str]) -> str:
    """What is wrong with a field, and what to write; *fields* are those that there are."""
    if mistake["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(mistake["loc"][-1]), fields, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(fields)}"
        return f"there is no such field: {advice}"
    if mistake["type"] == "tuple_type":
        given = mistake["input"]
        return f"write a list: [{given!r}]" if isinstance(given, str) else "write a list"
    return str(_INSTEAD.get(mistake["type"], mistake["msg"].removeprefix("Value error, ")))


def checked_name(kind: str, name: object) -> str:
    """*name* when it may name an input, an output or a parameter; DefinitionError otherwise.

    Such names become folders, XCom keys and environment variables (the rule of SDK v1).
    """
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    raise DefinitionError(
        f"{kind} name {name!r} is not valid: use 1 to 64 letters, digits and underscores, "
        "starting with a letter or an underscore"
    )
