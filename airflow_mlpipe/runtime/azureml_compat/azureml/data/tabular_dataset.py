"""``azureml.data.tabular_dataset``."""

from __future__ import annotations

from airflow_mlpipe.runtime.tabular import TabularDataset

from .._stand_in import unknown

__all__ = ["TabularDataset"]

__getattr__ = unknown(__name__)
