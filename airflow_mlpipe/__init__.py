"""Machine learning pipelines on Apache Airflow, with outputs that are reused when nothing changed.

Importing this package loads neither Airflow nor pydantic: a public name is imported from its module
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.version import __version__

if TYPE_CHECKING:
    from airflow_mlpipe.runtime import Run as Run

_HOMES: dict[str, str] = {
    "Run": "airflow_mlpipe.runtime",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
