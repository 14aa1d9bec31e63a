"""``azureml.core.workspace``."""

from __future__ import annotations

from airflow_mlpipe.runtime.workspace import Workspace

from .._stand_in import unknown

__all__ = ["Workspace"]

__getattr__ = unknown(__name__)
