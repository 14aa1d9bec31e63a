"""A patch of a pod: what an author changes of it beyond the fields of a target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

STEP_CONTAINER = "base"
DRIVER_CONTAINER = "drivers"
"""The init container that brings fsspec drivers."""

_VARIABLES = ("env", "envFrom")

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
    containers = [item for item in spec.get("containers") or () if item["name"] == STEP_CONTAINER]
    drivers = [item for item in spec.get("initContainers") or () if item["name"] == DRIVER_CONTAINER]
    for where, given, fixed in (
        ("metadata", metadata, ("name", "generateName", "namespace")),
        ("spec", spec, ("restartPolicy",)),
        *(
            (f"container {STEP_CONTAINER!r}", container, ("image", "command", "args"))
            for container in containers
        ),
    ):
        if found := [field for field in fixed if field in given]:
            raise ValueError(f"{where}: {found[0]} is not for a patch to change")
    for container in (*containers, *drivers):
        if found := [field for field in _VARIABLES if field in container]:
            raise ValueError(
                f"container {container['name']!r}: {found[0]} is not for a patch to change, because other "
                "variables may make another output; use environment_variables of the environment or of the "
                "step, and secrets of the target for what a Secret holds"
            )
    return parts


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
