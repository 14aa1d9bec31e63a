"""``azureml.core.compute_target``: for the DAG."""

from __future__ import annotations

from airflow_mlpipe.errors import TargetError as ComputeTargetException

from .._stand_in import authoring, unknown

__all__ = ["ComputeTarget", "ComputeTargetException"]

ComputeTarget = authoring(__name__, "ComputeTarget", 'name a target there: compute_target="..."')

__getattr__ = unknown(__name__)
