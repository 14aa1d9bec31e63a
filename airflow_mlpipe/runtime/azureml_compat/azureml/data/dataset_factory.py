"""``azureml.data.dataset_factory``."""

from __future__ import annotations

from airflow_mlpipe.runtime.script_datasets import Dataset

from .._stand_in import unknown

FileDatasetFactory = Dataset.File
TabularDatasetFactory = Dataset.Tabular

__getattr__ = unknown(__name__)
