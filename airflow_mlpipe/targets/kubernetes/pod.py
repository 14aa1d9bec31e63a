"""The pod of an attempt, as a manifest: plain data, made from a target without asking anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.kubernetes_target import KUEUE_LABEL, ORDINARY_USER, KubernetesTarget
from airflow_mlpipe.model.pod_patch import DRIVER_CONTAINER, STEP_CONTAINER, merged
from airflow_mlpipe.model.volume import Volume
from airflow_mlpipe.records import RunInfo
from airflow_mlpipe.targets.kubernetes.names import label_value, pod_name, secret_name
from airflow_mlpipe.targets.kubernetes.node_pools import node_selector, tolerations
from airflow_mlpipe.targets.parcel import ROOT

# Where the container finds the attempt's Secret.
PARCEL_FOLDER = "/mlpipe-parcel"
# Where it finds what a driver image brings.
DRIVERS_FOLDER = "/mlpipe-drivers"

_PREFIX = "airflow-mlpipe"
MANAGED_BY = {"app.kubernetes.io/managed-by": _PREFIX}
ATTEMPT_LABEL = f"{_PREFIX}/attempt"
# An autoscaler that wants to empty a node leaves alone those that have a step running.
_STAY = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}

# The folder itself belongs to root, so that only what is inside can be given the modes that it has there.
_COPY_PACKAGES = """
import os, shutil, site, sys
for folder in filter(os.path.isdir, site.getsitepackages()):
    for entry in os.scandir(folder):
        target = os.path.join(sys.argv[1], entry.name)
        if entry.is_dir():
            shutil.copytree(entry.path, target, dirs_exist_ok=True)
        else:
            shutil.copy(entry.path, target)
"""


def pod_manifest(
    target: KubernetesTarget,
    attempt: str,
    run: RunInfo,
    *,
    namespace: str,
    image: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    grace_seconds: float = 40.0,
) -> dict[str, Any]:
    """The pod that runs *command* for an attempt of *run* in a container with *image*.

    The container finds the Secret ``secret_name(attempt)`` at PARCEL_FOLDER and an empty folder of its own at
    ROOT. *command* and *environment* arrive as they are: nothing in them is expanded.
    After it is told to end it has *grace_seconds* left.
    """
    step = _step_container(target, image, command, environment or {})
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(attempt),
            "namespace": namespace,
            "labels": _labels(target, attempt, run),
            "annotations": _annotations(target, attempt, run),
        },
        "spec": _spec(target, attempt, step, grace_seconds),
    }
    return merged(pod, target.pod_patch)


def refuse_hidden_datastore(target: KubernetesTarget, pod: Mapping[str, Any], url: str | None) -> None:
    """Raise TargetError when *url*, what the step is to fetch, is a file that *pod* would not find.

    A datastore that is a folder has to be a volume of the pod, under the same path.
    """
    if url is None or not url.startswith("file://"):
        return
    path = url.removeprefix("file://")
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    mounts = containers[STEP_CONTAINER]["volumeMounts"]
    if not any(path.startswith(f"{mount['mountPath']}/") and not mount.get("readOnly") for mount in mounts):
        raise TargetError(
            f"the datastore is a folder, and pods of compute target {target.name!r} would not find {path}; "
            "use an object store as datastore, or mount that folder under the same path with a volume, such "
            "as an NFS export or a PersistentVolumeClaim"
        )


def _labels(target: KubernetesTarget, attempt: str, run: RunInfo) -> dict[str, str]:
    told = {
        ATTEMPT_LABEL: attempt,
        f"{_PREFIX}/dag": run.dag_id,
        f"{_PREFIX}/task": run.task_id,
        f"{_PREFIX}/run": run.dag_run_id,
        f"{_PREFIX}/target": target.name,
        **({} if run.map_index < 0 else {f"{_PREFIX}/map-index": str(run.map_index)}),
    }
    queue = {} if target.kueue_queue is None else {KUEUE_LABEL: target.kueue_queue}
    return {**target.labels, **MANAGED_BY, **queue, **{key: label_value(text) for key, text in told.items()}}


def _annotations(target: KubernetesTarget, attempt: str, run: RunInfo) -> dict[str, str]:
    told = {
        "attempt": attempt,
        "dag": run.dag_id,
        "task": run.task_id,
        "run": run.dag_run_id,
        "target": target.name,
    }
    return {**_STAY, **target.annotations, **{f"{_PREFIX}/{key}": text for key, text in told.items()}}


def _spec(
    target: KubernetesTarget, attempt: str, step: Mapping[str, Any], grace_seconds: float
) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(grace_seconds),
        "automountServiceAccountToken": target.automount_service_account_token,
        "enableServiceLinks": False,
        "securityContext": _pod_security(target),
        **_given(
            nodeSelector=node_selector(target),
            tolerations=tolerations(target),
            priorityClassName=target.priority_class,
            serviceAccountName=target.service_account,
            imagePullSecrets=[{"name": name} for name in target.image_pull_secrets],
            initContainers=[_driver_container(target)] if target.driver_image else None,
        ),
        "containers": [step],
        "volumes": _volumes(target, attempt),
    }


def _step_container(
    target: KubernetesTarget, image: str, command: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    mounts = [
        {"name": "parcel", "mountPath": PARCEL_FOLDER, "readOnly": True},
        {"name": "attempt", "mountPath": ROOT},
    ]
    if target.driver_image:
        mounts.append({"name": "drivers", "mountPath": DRIVERS_FOLDER, "readOnly": True})
    if target.shared_memory:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108  # the container's own
    return {
        "name": STEP_CONTAINER,
        "image": image,
        **_image_pull_policy(target),
        "command": [_literal(argument) for argument in command],
        **_given(env=_environment(target, environment), resources=_resources(target, gpus=target.gpus)),
        "securityContext": _container_security(),
        "volumeMounts": mounts + [_mount(index, volume) for index, volume in enumerate(target.volumes)],
    }


def _driver_container(target: KubernetesTarget) -> dict[str, Any]:
    return {
        "name": DRIVER_CONTAINER,
        "image": target.driver_image,
        **_image_pull_policy(target),
        "command": ["python3", "-c", _literal(_COPY_PACKAGES), DRIVERS_FOLDER],
        **_given(resources=_resources(target, gpus=0)),
        "securityContext": _container_security(),
        "volumeMounts": [{"name": "drivers", "mountPath": DRIVERS_FOLDER}],
    }


def _environment(target: KubernetesTarget, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    # A user of a number that the image does not know has no home, and what asks for its name fails.
    home = {"HOME": ROOT, "USER": "mlpipe"} if target.run_as_user else {}
    # Only the carrier sees it: the step's own PYTHONPATH is in its spec.
    drivers = {"PYTHONPATH": DRIVERS_FOLDER} if target.driver_image else {}
    plain = {**home, **drivers, **environment}
    secrets = {name: reference.partition("/") for name, reference in target.secrets.items()}
    return [
        *({"name": name, "value": _literal(value)} for name, value in plain.items() if name not in secrets),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, _, key) in secrets.items()
        ),
    ]


def _resources(target: KubernetesTarget, *, gpus: int) -> dict[str, Any]:
    bound = _given(memory=target.memory, **{"ephemeral-storage": target.ephemeral_storage})
    if gpus:
        bound[target.gpu_resource] = str(gpus)
    return _given(
        requests={**_given(cpu=target.cpu), **bound},
        limits={**_given(cpu=target.cpu_limit), **bound},
    )


def _pod_security(target: KubernetesTarget) -> dict[str, Any]:
    group = target.run_as_user if target.run_as_group is None else target.run_as_group
    security: dict[str, Any] = {
        "runAsNonRoot": not target.run_as_root,
        # Without it an ordinary user could not read the parcel.
        "fsGroup": group or ORDINARY_USER if target.fs_group is None else target.fs_group,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if target.run_as_user is not None:
        security["runAsUser"] = target.run_as_user
    if group is not None:
        security["runAsGroup"] = group
    return security


def _container_security() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _volumes(target: KubernetesTarget, attempt: str) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "parcel", "secret": {"secretName": secret_name(attempt), "defaultMode": 0o440}},
        {"name": "attempt", "emptyDir": {}},
    ]
    if target.driver_image:
        volumes.append({"name": "drivers", "emptyDir": {}})
    if target.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": target.shared_memory}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
    return volumes + [
        {"name": f"volume-{index}", **_source(volume)} for index, volume in enumerate(target.volumes)
    ]


def _source(volume: Volume) -> dict[str, Any]:
    if volume.host_path is not None:
        return {"hostPath": {"path": volume.host_path}}
    if volume.claim is not None:
        return {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}}
    if volume.nfs is not None:
        server, _, path = volume.nfs.partition(":")
        return {"nfs": {"server": server, "path": path, "readOnly": volume.read_only}}
    return {"emptyDir": {"sizeLimit": volume.scratch}}


def _mount(index: int, volume: Volume) -> dict[str, Any]:
    return {
        "name": f"volume-{index}",
        "mountPath": volume.mount_path,
        "readOnly": volume.read_only,
        **_given(subPath=volume.sub_path),
    }


def _image_pull_policy(target: KubernetesTarget) -> dict[str, Any]:
    return _given(imagePullPolicy=target.image_pull_policy)


def _literal(text: str) -> str:
    """*text* so that Kubernetes, which expands ``$(NAME)`` in commands and variables, leaves it as it is."""
    return text.replace("$", "$$")


def _given(**fields: Any) -> dict[str, Any]:
    """Those *fields* that have a value: not None, and not empty."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [])}
