"""Parameters that a run is started with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from airflow_mlpipe.model.declaration import Declaration, checked_name


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"

    def __deepcopy__(self, memo: object) -> _Unset:
        return self


UNSET = _Unset()

if TYPE_CHECKING:
    from typing import TypeAlias

    # It stands for a value of any type, so type checkers are to let it pass wherever a step wants one.
    _Whatever: TypeAlias = Any
else:
    _Whatever = object


class PipelineParameter(Declaration, _Whatever):  # type: ignore[misc]
    """A value of the run, taken from the DAG's ``params`` of the same name.

    With a *default_value* it adds that param to the DAG when the DAG does not declare it, so that it
    shows on the Trigger form either way. Without one, the DAG must declare it.
    """

    name: str
    default_value: Any = UNSET

    def __init__(self, name: str, default_value: Any = UNSET) -> None:
        super().__init__(name=name, default_value=default_value)

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        return checked_name("parameter", name)

    @field_validator("default_value")
    @classmethod
    def _default_is_plain(cls, value: Any) -> Any:
        if value is UNSET or value is None or isinstance(value, (str, int, float, bool)):
            return value
        raise ValueError("a parameter's default is a str, int, float, bool or None")

    @property
    def has_default(self) -> bool:
        return self.default_value is not UNSET
