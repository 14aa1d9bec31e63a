"""A patch of a pod: what an author changes of it beyond the fields of a target."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

STEP_CONTAINER = "base"
DRIVER_CONTAINER = "drivers"
"""The init container that brings fsspec drivers."""

OUR_LABELS = ("airflow-mlpipe/", "app.kubernetes.io/managed-by")
"""What the labels begin with by which pods are found again."""

_VARIABLES = ("env", "envFrom")

# What is nearly one of these is a mistake; a field that is not like any may be of a newer Kubernetes.
_METADATA = ("annotations", "finalizers", "labels", "ownerReferences")
_SPEC = re.findall(
    r"\w+",
    """
    activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy
    enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname
    hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy
    priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName
    schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN
    shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints
    volumes
    """,
)
_CONTAINER = re.findall(
    r"\w+",
    """
    args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe
    resizePolicy resources restartPolicy securityContext startupProbe stdin stdinOnce
    terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir
    """,
)

# Lists of a pod that are merged by the key of their items; others are replaced.
# https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
_MERGED_BY = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}


def checked_patch(patch: dict[str, Any]) -> dict[str, Any]:
    """*patch* without empty parts, when it leaves alone what makes a pod a step. Raises ValueError."""
    if strange := sorted(set(patch) - {"metadata", "spec"}):
        raise ValueError(f"a patch has metadata and spec, not {', '.join(map(repr, strange))}")
    parts = {name: part for name, part in patch.items() if part is not None}
    for name, part in parts.items():
        if not isinstance(part, Mapping):
            raise ValueError(f"{name} of a patch is a mapping; it is {part!r}")
    try:
        json.dumps(parts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a patch is plain JSON: {error}") from None
    merged({}, parts)
    metadata, spec = parts.get("metadata", {}), parts.get("spec", {})
    _check_fields("metadata", metadata, _METADATA, ("name", "generateName", "namespace"))
    _check_labels(metadata.get("labels"))
    _check_fields("spec", spec, _SPEC, ("restartPolicy",))
    for container in spec.get("containers") or ():
        _check_container(container, STEP_CONTAINER, ("image", "command", "args"))
    for container in spec.get("initContainers") or ():
        _check_container(container, DRIVER_CONTAINER, ())
    return parts


def _check_fields(
    where: str, given: Mapping[str, Any], known: Collection[str], fixed: Collection[str] = ()
) -> None:
    """Refuse what is *fixed*, and what is nearly one of the *known* fields; a cluster passes over those."""
    for field in given:
        if field in fixed:
            raise ValueError(f"{where}: {field} is not for a patch to change")
        near = difflib.get_close_matches(str(field), known, n=1, cutoff=0.85)
        if near and field not in known:
            raise ValueError(f"{where}: there is no field {field!r}: did you mean {near[0]!r}?")


def _check_labels(labels: object) -> None:
    ours = [key for key in labels if str(key).startswith(OUR_LABELS)] if isinstance(labels, Mapping) else []
    if ours:
        raise ValueError(f"labels: {ours[0]!r} is not for a patch to change: pods are found by it")


def _check_container(container: Mapping[str, Any], ours: str, fixed: Collection[str]) -> None:
    """Refuse what a patch may not say of the container that is called *ours*, and of another one."""
    where = f"container {container['name']!r}"
    if container["name"] != ours:
        _check_fields(where, container, _CONTAINER)
        if not container.get("image"):
            raise ValueError(f"{where} has no image; that of the target to be patched here is {ours!r}")
        return
    _check_fields(where, container, _CONTAINER, fixed)
    if found := [field for field in _VARIABLES if field in container]:
        raise ValueError(
            f"{where}: {found[0]} is not for a patch to change, because other variables may make another "
            "output; use environment_variables of the environment or of the step, and secrets of the target "
            "for what a Secret holds"
        )


def merged(pod: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """*pod* with *patch* over it.

    Mappings are merged, null takes a field away, lists of named things are merged item by item, and other
    values are replaced. Raises ValueError when such a list of the patch is none, or an item lacks its name.
    """
    result = dict(pod)
    for field, change in patch.items():
        before = result.get(field)
        if change is None:
            result.pop(field, None)
        elif field in _MERGED_BY:
            result[field] = _merged_list(before or [], change, field)
        elif isinstance(change, Mapping):
            result[field] = merged(before if isinstance(before, Mapping) else {}, change)
        else:
            result[field] = change
    return result


def _merged_list(items: list[Any], changes: Any, field: str) -> list[Any]:
    key = _MERGED_BY[field]
    if not isinstance(changes, list) or not all(_has_key(change, key) for change in changes):
        raise ValueError(f"{field} of a patch is a list of mappings, each with its {key!r}")
    result = {item[key]: item for item in items}
    for change in changes:
        result[change[key]] = merged(result.get(change[key], {}), change)
    return list(result.values())


def _has_key(item: Any, key: str) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get(key), (str, int))
