"""``azureml.core.model``."""

from __future__ import annotations

from airflow_mlpipe.runtime.script_models import Model

from .._stand_in import unknown

__all__ = ["Model"]

__getattr__ = unknown(__name__)
