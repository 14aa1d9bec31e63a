"""Which volumes of a compute target are folders of the worker."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.docker_target import DockerTarget, DockerVolume
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.volume import Volume


def shared_folders(target: ComputeTarget) -> list[Path]:
    """Where *target* mounts what may be the worker's own folder under the same path.

    Whether it is can be told there only: another machine may have another disk at that path.
    """
    if isinstance(target, KubernetesTarget):
        return [Path(volume.mount_path) for volume in target.volumes if _may_be_the_same(volume)]
    if isinstance(target, DockerTarget):
        volumes = map(DockerVolume.parse, target.volumes)
        return [Path(volume.target) for volume in volumes if Path(volume.source) == Path(volume.target)]
    return []


def _may_be_the_same(volume: Volume) -> bool:
    """Whether the worker may have *volume* at its path, too; a claim or an export does not tell its own."""
    if volume.host_path is not None:
        return Path(volume.host_path, volume.sub_path or "") == Path(volume.mount_path)
    return volume.scratch is None and volume.sub_path is None
