"""What a compute target would start, told without starting it or asking anybody."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.records import LaunchSpec, RunInfo

# Stand for what differs from attempt to attempt; the pod's are texts that a cluster would accept.
_RUN = RunInfo("attempt", "dag", "dag", "run", "task", -1, 1)
_IMAGE = "image-of-the-environment"


@dataclass(frozen=True)
class Preview:
    """What one attempt would be: the ``definition`` of a process, a container or a pod.

    ``notes`` say, in sentences, what in it is only known when an attempt is launched.
    """

    launches: Literal["process", "container", "pod"]
    definition: dict[str, Any]
    notes: Sequence[str] = ()


def preview(target: ComputeTarget) -> Preview:
    """What *target* would start for an attempt. Raises TargetError for a kind that is not known here."""
    if isinstance(target, KubernetesTarget):
        return _pod(target)
    if isinstance(target, DockerTarget):
        return _container(target)
    if isinstance(target, LocalTarget):
        return Preview("process", {"python": target.python or sys.executable}, _worker_notes(target))
    if isinstance(target, RemoteTarget):
        fields = {"ssh_conn_id", "folder", "python"}
        return Preview("process", target.model_dump(mode="json", include=fields))
    raise TargetError(f"compute target {target.name!r} is of a kind that nothing here can run steps on")


def _pod(target: KubernetesTarget) -> Preview:
    from airflow_mlpipe.targets.kubernetes.pod import PARCEL_FOLDER, pod_manifest
    from airflow_mlpipe.targets.parcel import ROOT, boot_command

    pod = pod_manifest(
        target,
        _RUN.id,
        _RUN,
        namespace=target.namespace or "",
        image=target.image or _IMAGE,
        command=boot_command(target.python, PARCEL_FOLDER, ROOT),
    )
    notes = ["names and labels are those of the attempt 'attempt' of task 'task' in run 'run' of DAG 'dag'"]
    if target.namespace is None:
        del pod["metadata"]["namespace"]
        notes.append(f"the namespace is that of the connection {target.kubernetes_conn_id!r}")
    return Preview("pod", pod, [*notes, *_image_notes(target)])


def _container(target: DockerTarget) -> Preview:
    from airflow_mlpipe.pipeline.compute.docker import shares_disk
    from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, Container, Mount
    from airflow_mlpipe.targets.docker.container import User, container_config
    from airflow_mlpipe.targets.docker.delivery import carried, shared

    records, scratch, runtime = Path("/RECORDS"), Path("/SCRATCH"), Path("/RUNTIME")
    user = User.of(target)
    image = target.image or _IMAGE
    spec = LaunchSpec(_RUN.id, "fingerprint", [], str(records), str(scratch), _RUN)
    if not shares_disk(target):
        delivery = carried(target, spec, NOTHING_PRIVATE, runtime, user)
        notes = ["code and data come by way of the datastore"]
    else:
        container = Container(image, (Mount(records, writable=True), Mount(scratch, writable=True)))
        directory = AttemptDirectory(records, _RUN.id)
        delivery = shared(target, directory, container, NOTHING_PRIVATE, runtime, user)
        notes = [
            "/RUNTIME, /RECORDS and /SCRATCH are folders of the worker; local inputs are mounted as well"
        ]
    config = container_config(
        target,
        spec,
        image=image,
        command=delivery.command,
        directory=delivery.directory,
        environment=delivery.environment,
        mounts=delivery.mounts,
        user=user,
    )
    return Preview("container", config, [*notes, *_image_notes(target)])


def _image_notes(target: DockerTarget | KubernetesTarget) -> list[str]:
    return [] if target.image else [f"{_IMAGE!r} stands for the image of the step's environment"]


def _worker_notes(target: LocalTarget) -> list[str]:
    return [] if target.python else ["a step without packages of its own runs in the worker's Python"]
