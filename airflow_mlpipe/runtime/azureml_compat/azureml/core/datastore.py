"""``azureml.core.datastore``."""

from __future__ import annotations

from airflow_mlpipe.runtime.workspace import Datastore

from .._stand_in import unknown

__all__ = ["Datastore"]

__getattr__ = unknown(__name__)
