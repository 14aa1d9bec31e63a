"""``azureml.core.run``."""

from __future__ import annotations

from airflow_mlpipe.runtime.run import OfflineRun as _OfflineRun
from airflow_mlpipe.runtime.run import Run

from .._stand_in import unknown

__all__ = ["Run", "_OfflineRun"]

__getattr__ = unknown(__name__)
