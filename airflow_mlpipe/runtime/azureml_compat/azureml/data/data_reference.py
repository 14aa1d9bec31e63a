"""``azureml.data.data_reference``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["DataReference"]

DataReference = authoring(
    __name__, "DataReference", 'write Dataset.File.from_files((Datastore("raw"), "path"))'
)

__getattr__ = unknown(__name__)
