"""``azureml.core``."""

from __future__ import annotations

from airflow_mlpipe.runtime.run import Run
from airflow_mlpipe.runtime.script_datasets import Dataset
from airflow_mlpipe.runtime.script_models import Model
from airflow_mlpipe.runtime.workspace import Datastore, Workspace

from .._stand_in import submodule
from .compute import ComputeTarget
from .environment import Environment
from .experiment import Experiment
from .runconfig import RunConfiguration
from .script_run_config import ScriptRunConfig

VERSION = "the stand-in of airflow_mlpipe"

__all__ = [
    "VERSION",
    "ComputeTarget",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "Workspace",
]

__getattr__ = submodule(__name__)
