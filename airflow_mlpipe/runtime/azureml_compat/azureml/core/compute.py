"""``azureml.core.compute``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["AmlCompute", "ComputeTarget"]

AmlCompute = authoring(__name__, "AmlCompute", 'name a target there: compute_target="..."')
ComputeTarget = authoring(__name__, "ComputeTarget", 'name a target there: compute_target="..."')

__getattr__ = unknown(__name__)
