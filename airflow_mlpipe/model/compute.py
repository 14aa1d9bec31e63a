"""Compute targets: where a step runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.environment import named_sections


class ComputeTarget(Declaration):
    """What all targets have in common.

    ``pool`` and ``pool_slots`` are the Airflow pool that limits how many steps run there at once; ``queue``
    is the Airflow queue whose workers reach the target. A step's own arguments of these names win.
    """

    name: str
    pool: str | None = None
    pool_slots: int | None = None
    queue: str | None = None


class LocalTarget(ComputeTarget):
    """The machine of the Airflow worker: a process of its own, beside the worker's.

    ``python`` is the absolute path of the interpreter for steps without an environment of their own;
    default is the worker's.
    """

    type: Literal["local"] = "local"
    python: str | None = None

    def __init__(self, name: str = "local", **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("python")
    @classmethod
    def _python_is_absolute(cls, python: str | None) -> str | None:
        if python is not None and not python.startswith("/"):
            raise ValueError("python is the absolute path of an interpreter")
        return python


_KINDS: dict[str, type[ComputeTarget]] = {"local": LocalTarget}


def parse_targets(text: str, origin: str) -> dict[str, ComputeTarget]:
    """The compute targets of a YAML document ``{name: {type: local, ...}}``; ``local`` is always there.

    Raises DefinitionError that names *origin*, the target and the mistake.
    """
    targets: dict[str, ComputeTarget] = {"local": LocalTarget()}
    for name, fields in named_sections(text, origin, "compute target"):
        kind = fields.pop("type", None)
        if not isinstance(kind, str) or kind not in _KINDS:
            known = ", ".join(sorted(_KINDS))
            raise DefinitionError(
                f"{origin}: compute target {name!r} has type {kind!r}; known types: {known}"
            )
        try:
            targets[name] = _KINDS[kind](name=name, **fields)
        except DefinitionError as error:
            raise DefinitionError(f"{origin}: compute target {name!r}: {error}") from None
    return targets
