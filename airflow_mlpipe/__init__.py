"""Machine learning pipelines on Apache Airflow, with outputs that are reused when nothing changed.

Importing this package loads neither Airflow nor pydantic: a public name is imported from its module
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.version import __version__

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.fan_out import expand_in_chunks as expand_in_chunks
    from airflow_mlpipe.decorators.fan_out import files_in as files_in
    from airflow_mlpipe.decorators.step import step as step
    from airflow_mlpipe.model.compute import LocalTarget as LocalTarget
    from airflow_mlpipe.model.data import OutputFileDatasetConfig as OutputFileDatasetConfig
    from airflow_mlpipe.model.data import PipelineData as PipelineData
    from airflow_mlpipe.model.dataset import Dataset as Dataset
    from airflow_mlpipe.model.datastore import Datastore as Datastore
    from airflow_mlpipe.model.docker_target import DockerTarget as DockerTarget
    from airflow_mlpipe.model.entry import Command as Command
    from airflow_mlpipe.model.entry import Script as Script
    from airflow_mlpipe.model.environment import Environment as Environment
    from airflow_mlpipe.model.kubernetes_target import KubernetesTarget as KubernetesTarget
    from airflow_mlpipe.model.node_pool import NodePool as NodePool
    from airflow_mlpipe.model.parameters import PipelineParameter as PipelineParameter
    from airflow_mlpipe.model.reference import PipelineDataReference as PipelineDataReference
    from airflow_mlpipe.model.registered import Model as Model
    from airflow_mlpipe.model.remote_target import RemoteTarget as RemoteTarget
    from airflow_mlpipe.model.volume import Volume as Volume
    from airflow_mlpipe.operators.changed_data import changed_data as changed_data
    from airflow_mlpipe.operators.command import CommandStep as CommandStep
    from airflow_mlpipe.operators.data_transfer import DataTransferStep as DataTransferStep
    from airflow_mlpipe.operators.python_script import PythonScriptStep as PythonScriptStep
    from airflow_mlpipe.pipeline.assets import dataset_asset as dataset_asset
    from airflow_mlpipe.pipeline.explaining.explain import explain as explain
    from airflow_mlpipe.pipeline.planning.planner import plan as plan
    from airflow_mlpipe.runtime import Run as Run
    from airflow_mlpipe.runtime.annotations import OUTPUT as OUTPUT
    from airflow_mlpipe.runtime.annotations import Input as Input
    from airflow_mlpipe.runtime.annotations import Output as Output
    from airflow_mlpipe.runtime.annotations import Pickle as Pickle
    from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat as ArtifactFormat
    from airflow_mlpipe.runtime.artifacts.registry import register_artifact as register_artifact
    from airflow_mlpipe.sensors.data_change import DataChangeSensor as DataChangeSensor
    from airflow_mlpipe.sensors.output_reuse import OutputReuseSensor as OutputReuseSensor
    from airflow_mlpipe.triggers.data_change import watched_data as watched_data

_HOMES = {
    "ArtifactFormat": "airflow_mlpipe.runtime.artifacts.registry",
    "Command": "airflow_mlpipe.model.entry",
    "CommandStep": "airflow_mlpipe.operators.command",
    "DataChangeSensor": "airflow_mlpipe.sensors.data_change",
    "DataTransferStep": "airflow_mlpipe.operators.data_transfer",
    "Dataset": "airflow_mlpipe.model.dataset",
    "Datastore": "airflow_mlpipe.model.datastore",
    "DockerTarget": "airflow_mlpipe.model.docker_target",
    "Environment": "airflow_mlpipe.model.environment",
    "Input": "airflow_mlpipe.runtime.annotations",
    "KubernetesTarget": "airflow_mlpipe.model.kubernetes_target",
    "LocalTarget": "airflow_mlpipe.model.compute",
    "Model": "airflow_mlpipe.model.registered",
    "NodePool": "airflow_mlpipe.model.node_pool",
    "OUTPUT": "airflow_mlpipe.runtime.annotations",
    "Output": "airflow_mlpipe.runtime.annotations",
    "OutputFileDatasetConfig": "airflow_mlpipe.model.data",
    "OutputReuseSensor": "airflow_mlpipe.sensors.output_reuse",
    "Pickle": "airflow_mlpipe.runtime.annotations",
    "PipelineData": "airflow_mlpipe.model.data",
    "PipelineDataReference": "airflow_mlpipe.model.reference",
    "PipelineParameter": "airflow_mlpipe.model.parameters",
    "PythonScriptStep": "airflow_mlpipe.operators.python_script",
    "RemoteTarget": "airflow_mlpipe.model.remote_target",
    "Run": "airflow_mlpipe.runtime",
    "Script": "airflow_mlpipe.model.entry",
    "Volume": "airflow_mlpipe.model.volume",
    "changed_data": "airflow_mlpipe.operators.changed_data",
    "dataset_asset": "airflow_mlpipe.pipeline.assets",
    "expand_in_chunks": "airflow_mlpipe.decorators.fan_out",
    "explain": "airflow_mlpipe.pipeline.explaining.explain",
    "files_in": "airflow_mlpipe.decorators.fan_out",
    "plan": "airflow_mlpipe.pipeline.planning.planner",
    "register_artifact": "airflow_mlpipe.runtime.artifacts.registry",
    "step": "airflow_mlpipe.decorators.step",
    "watched_data": "airflow_mlpipe.triggers.data_change",
}

__all__ = [
    "OUTPUT",
    "ArtifactFormat",
    "Command",
    "CommandStep",
    "DataChangeSensor",
    "DataTransferStep",
    "Dataset",
    "Datastore",
    "DockerTarget",
    "Environment",
    "Input",
    "KubernetesTarget",
    "LocalTarget",
    "Model",
    "NodePool",
    "Output",
    "OutputFileDatasetConfig",
    "OutputReuseSensor",
    "Pickle",
    "PipelineData",
    "PipelineDataReference",
    "PipelineParameter",
    "PythonScriptStep",
    "RemoteTarget",
    "Run",
    "Script",
    "Volume",
    "__version__",
    "changed_data",
    "dataset_asset",
    "expand_in_chunks",
    "explain",
    "files_in",
    "plan",
    "register_artifact",
    "step",
    "watched_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
