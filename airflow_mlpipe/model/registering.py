"""Registering at once, from where Airflow is configured: the way up to what does it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def registering() -> Any:
    """The module that registers, loaded by its name: declarations are also read where there is no Airflow."""
    return import_module("airflow_mlpipe.pipeline.registering")
