"""``azureml.data.datapath``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["DataPath", "DataPathComputeBinding"]

DataPath = authoring(__name__, "DataPath", 'write Dataset.File.from_files((Datastore("raw"), "path"))')
DataPathComputeBinding = authoring(__name__, "DataPathComputeBinding", "write as_mount() or as_download()")

__getattr__ = unknown(__name__)
