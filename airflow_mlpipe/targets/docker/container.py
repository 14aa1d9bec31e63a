"""The container of an attempt, as the engine's API describes it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from airflow_mlpipe.model.docker_target import DockerTarget, DockerVolume, size_in_bytes
from airflow_mlpipe.records import LaunchSpec
from airflow_mlpipe.targets.contract import Mount

KILL_SECONDS = 2.0  # beyond the attempt's own grace period

# Many programs ask for both, and fail or fill the root of the file system without them.
_NAMELESS = {"HOME": "/tmp", "USER": "mlpipe"}  # noqa: S108 - the container's own


class User(NamedTuple):
    """Who the processes of a container are, by numbers; ``groups`` are further ones."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, target: DockerTarget) -> User:
        """The user that *target* names, else that of this process, whose what a step writes is then."""
        if target.user is not None:
            uid, gid = map(int, target.user.split(":"))
            return cls(uid, gid)
        gid = os.getegid()
        return cls(os.geteuid(), gid, tuple(group for group in os.getgroups() if group != gid))


def container_name(attempt: str) -> str:
    """The name of the container of the attempt with this id."""
    return f"mlpipe-{re.sub(r'[^A-Za-z0-9_.-]', '-', attempt)}"


def container_config(
    target: DockerTarget,
    spec: LaunchSpec,
    *,
    image: str,
    command: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    user: User,
) -> dict[str, Any]:
    """What the engine is asked to create: *command* in *directory* of *image*, as *user*.

    The image's entry point is passed over, its variables are kept. *mounts* are folders of the engine's
    machine, besides the target's own volumes. Nothing of *spec* is in it but names, for labels.
    """
    variables = {**({} if user.uid == 0 else _NAMELESS), **environment}
    return {
        "Image": image,
        "Entrypoint": list(command[:1]),
        "Cmd": list(command[1:]),
        "WorkingDir": directory,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "User": f"{user.uid}:{user.gid}",
        "Labels": _labels(spec),
        "StopSignal": "SIGTERM",
        "StopTimeout": math.ceil(spec.termination_grace_seconds + KILL_SECONDS),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(target, mounts, user),
    }


def _labels(spec: LaunchSpec) -> dict[str, str]:
    run = spec.run
    return {
        "mlpipe.attempt": spec.attempt,
        "mlpipe.fingerprint": spec.fingerprint,
        "mlpipe.dag_id": run.dag_id,
        "mlpipe.run_id": run.dag_run_id,
        "mlpipe.task_id": run.task_id,
        "mlpipe.map_index": str(run.map_index),
        "mlpipe.try_number": str(run.try_number),
    }


def _host_config(target: DockerTarget, mounts: Sequence[Mount], user: User) -> dict[str, Any]:
    volumes = (DockerVolume.parse(volume) for volume in target.volumes)
    config: dict[str, Any] = {
        "Mounts": [
            *(
                {**_bound(str(mount.path), str(mount.path)), "ReadOnly": not mount.writable}
                for mount in mounts
            ),
            *({**_mounted(volume), "ReadOnly": volume.read_only} for volume in volumes),
        ],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "GroupAdd": [str(group) for group in user.groups],
        # One that rotates would lose lines before they are read.
        "LogConfig": {"Type": "json-file", "Config": {}},
        "DeviceRequests": _device_requests(target),
    }
    if target.cpus is not None:
        config["NanoCpus"] = round(target.cpus * 1e9)
    if target.memory is not None:
        config["Memory"] = config["MemorySwap"] = size_in_bytes(target.memory)
    if target.shm_size is not None:
        config["ShmSize"] = size_in_bytes(target.shm_size)
    if target.network is not None:
        config["NetworkMode"] = target.network
    return {**config, **target.host_config}


def _bound(source: str, target: str) -> dict[str, str]:
    return {"Type": "bind", "Source": source, "Target": target}


def _mounted(volume: DockerVolume) -> dict[str, str]:
    if volume.is_folder:
        return _bound(volume.source, volume.target)
    return {"Type": "volume", "Source": volume.source, "Target": volume.target}


def _device_requests(target: DockerTarget) -> list[dict[str, Any]]:
    if not target.gpus:
        return []
    request: dict[str, Any] = {"Capabilities": [["gpu"]]}
    if isinstance(target.gpus, tuple):
        return [{**request, "DeviceIDs": list(target.gpus)}]
    return [{**request, "Count": -1 if target.gpus == "all" else target.gpus}]
