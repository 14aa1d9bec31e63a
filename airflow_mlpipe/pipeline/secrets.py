"""Values that Airflow keeps secret, and what may be written of them."""

from __future__ import annotations

import hashlib
from typing import Any


def holds_secret(text: str) -> bool:
    """Whether *text* contains a value that Airflow's secrets masker knows as secret."""
    from airflow.sdk.log import redact

    return bool(redact(text) != text)


def is_secret(name: str, value: str) -> bool:
    """Whether the variable *name* may not be written down: its name is a sensitive one, or its value is known."""
    from airflow.sdk.log import redact

    return bool(redact(value, name) != value)


def recipe_value(name: str, value: str) -> Any:
    """An environment variable as it stands in the recipe: in plain words, or as a digest when it is secret."""
    if not is_secret(name, value):
        return value
    return {"secret": hashlib.sha256(f"mlpipe\0{name}\0{value}".encode()).hexdigest()}
