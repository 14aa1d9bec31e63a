"""``azureml.data.file_dataset``."""

from __future__ import annotations

from airflow_mlpipe.runtime.script_datasets import FileDataset

from .._stand_in import unknown

__all__ = ["FileDataset"]

__getattr__ = unknown(__name__)
