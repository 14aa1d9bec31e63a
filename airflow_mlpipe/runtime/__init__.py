"""What runs beside a step's script: the supervisor of its process, and ``Run`` for the script itself.

Standard library only, for any Python from 3.10. ``Run`` is imported when it is first asked for, so that
the supervisor starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mlpipe.runtime.run import Run as Run

__all__ = ["Run"]


def __getattr__(name: str) -> Any:
    if name != "Run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_mlpipe.runtime.run import Run

    globals()["Run"] = Run
    return Run
