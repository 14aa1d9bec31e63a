"""The common ground of everything a DAG author declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import DefinitionError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


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
            raise DefinitionError(_sentences(type(self).__name__, error)) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.get_default(call_default_factory=True):
                yield name, value

    def __str__(self) -> str:
        return repr(self)


def _sentences(kind: str, error: ValidationError) -> str:
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "value"
        message = mistake["msg"].removeprefix("Value error, ")
        given = f" (given: {mistake['input']!r})"
        if mistake["type"] == "missing" or repr(mistake["input"]) in message:
            given = ""
        lines.append(f"{kind}.{where}: {message}{given}")
    return "; ".join(lines)


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
