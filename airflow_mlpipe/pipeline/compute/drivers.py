"""The driver of a compute target. Each kind imports its client library only when it is used."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.contract import TargetDriver
from airflow_mlpipe.targets.local import LocalDriver
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle


def driver_for(target: ComputeTarget, settings: Settings, datastore: Datastore, context: Any) -> TargetDriver:
    """What runs attempts on *target*; their records are kept in *datastore*.

    *context* is that of the running task. Raises TargetError when the target cannot be reached at all.
    """
    if isinstance(target, LocalTarget):
        return LocalDriver(runtime_bundle(settings.cache_directory))
    if isinstance(target, DockerTarget):
        from airflow_mlpipe.pipeline.compute.docker import docker_driver

        return docker_driver(target, settings, datastore)
    if isinstance(target, KubernetesTarget):
        from airflow_mlpipe.pipeline.compute.kubernetes import kubernetes_driver

        return kubernetes_driver(target, settings, datastore, context)
    if isinstance(target, RemoteTarget):
        from airflow_mlpipe.pipeline.compute.remote import remote_driver

        return remote_driver(target, settings, datastore)
    raise TargetError(f"compute target {target.name!r} is of a kind that nothing here can run steps on")


def shares_disk(target: ComputeTarget) -> bool:
    """Whether steps on *target* find this worker's folders under the same paths. Raises TargetError."""
    if isinstance(target, DockerTarget):
        from airflow_mlpipe.pipeline.compute.docker import shares_disk as engine_shares_disk

        return engine_shares_disk(target)
    return isinstance(target, LocalTarget)


def can_be_watched(target: ComputeTarget) -> bool:
    """Whether the triggerer can wait for an attempt on *target* while no worker does."""
    return isinstance(target, KubernetesTarget)
