"""``azureml.exceptions``: what scripts catch."""

from __future__ import annotations

from airflow_mlpipe.errors import MLPipeError as AzureMLException
from airflow_mlpipe.errors import UserError as RunEnvironmentException
from airflow_mlpipe.errors import UserError as UserErrorException
from airflow_mlpipe.runtime.named_inputs import UndeclaredError as ModelNotFoundException

from ._stand_in import unknown

__all__ = ["AzureMLException", "ModelNotFoundException", "RunEnvironmentException", "UserErrorException"]

__getattr__ = unknown(__name__)
