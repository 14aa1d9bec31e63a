"""``azureml.core.conda_dependencies``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["CondaDependencies"]

CondaDependencies = authoring(
    __name__, "CondaDependencies", "write environment=Environment(pip_packages=[...])"
)

__getattr__ = unknown(__name__)
