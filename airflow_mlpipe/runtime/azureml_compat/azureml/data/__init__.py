"""``azureml.data``."""

from __future__ import annotations

from airflow_mlpipe.runtime.script_datasets import FileDataset
from airflow_mlpipe.runtime.tabular import TabularDataset

from .._stand_in import authoring, submodule

__all__ = ["FileDataset", "OutputFileDatasetConfig", "TabularDataset"]

OutputFileDatasetConfig = authoring(
    __name__, "OutputFileDatasetConfig", "write it there, and pass it among the step's arguments"
)

__getattr__ = submodule(__name__)
