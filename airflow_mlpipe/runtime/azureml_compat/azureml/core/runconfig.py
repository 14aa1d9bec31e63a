"""``azureml.core.runconfig``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["RunConfiguration"]

RunConfiguration = authoring(
    __name__, "RunConfiguration", 'write environment=Environment(pip_packages=[...]) and compute_target="..."'
)

__getattr__ = unknown(__name__)
