"""Values that Airflow keeps secret, and what may be written of them."""

from __future__ import annotations

import hashlib
from typing import Any


def holds_secret(text: str) -> bool:
    """Whether *text* contains a value that Airflow's secrets masker knows as secret."""
    return bool(_redacted(text) != text)


def is_secret(name: str, value: str) -> bool:
    """Whether the variable *name* may not be written down: its name or its value is a secret one."""
    return bool(_redacted(value, name) != value)


def recipe_value(name: str, value: str) -> Any:
    """An environment variable as it stands in the recipe: as it is, or as a digest when it is secret."""
    if not is_secret(name, value):
        return value
    return {"secret": hashlib.sha256(f"mlpipe\0{name}\0{value}".encode()).hexdigest()}


def _redacted(text: str, name: str | None = None) -> Any:
    from airflow.sdk.log import redact  # type: ignore[attr-defined]  # imported there for its users

    return redact(text, name)
