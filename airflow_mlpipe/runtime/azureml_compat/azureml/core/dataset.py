"""``azureml.core.dataset``."""

from __future__ import annotations

from airflow_mlpipe.runtime.script_datasets import Dataset

from .._stand_in import unknown

__all__ = ["Dataset"]

__getattr__ = unknown(__name__)
