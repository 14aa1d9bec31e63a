"""What a check of an installation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """How things stand, and how to mend them ("" when there is nothing to mend)."""

    level: Level
    said: str
    mend: str = ""

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"level": self.level, "said": self.said, "mend": self.mend}


def ok(said: str) -> Finding:
    """All is well."""
    return Finding("ok", said)


def warn(said: str, mend: str) -> Finding:
    """It works, or is not needed by everybody."""
    return Finding("warn", said, mend)


def fail(said: str, mend: str) -> Finding:
    """Steps will not run, or not be reused."""
    return Finding("FAIL", said, mend)
