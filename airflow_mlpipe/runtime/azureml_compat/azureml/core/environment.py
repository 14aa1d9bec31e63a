"""``azureml.core.environment``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["Environment"]

Environment = authoring(__name__, "Environment", "write environment=Environment(pip_packages=[...])")

__getattr__ = unknown(__name__)
