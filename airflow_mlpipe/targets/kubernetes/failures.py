"""Why a pod ended without a result: whose failure that was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.targets.kubernetes.phases import Document, Sighting, container_state
from airflow_mlpipe.targets.parcel import carrier_failure

KILLED, TERMINATED = 137, 143
_NEVER_RAN = ("ContainerCannotRun", "StartError", "RunContainerError")
# The node ends a pod that uses more of its disk than it may; that is not the node's own want.
_OWN_EVICTION = re.compile(r"exceeds the (total )?limit", re.IGNORECASE)


def out_of_memory(pod: Document) -> UserError | None:
    """The failure of a pod whose container reached its memory limit; None when it did not."""
    terminated = container_state(pod).get("terminated") or {}
    if terminated.get("reason") != "OOMKilled":
        return None
    limit = _memory_limit(pod)
    return UserError(
        f"pod {pod['metadata']['name']} ran out of memory: "
        + (f"its limit is {limit}" if limit else f"it has no limit, so node {_node(pod)} had none left")
        + "; let the step need less, or give its compute target more memory"
    )


def failure_of(sighting: Sighting | None, pod_name: str, last_lines: list[str]) -> StepError:
    """Why the pod *pod_name* has no result; *sighting* is None when it is gone.

    *last_lines* are the last that it printed.
    """
    if sighting is None:
        return _gone(pod_name)
    if (memory := out_of_memory(sighting.pod)) is not None:
        return memory
    return (
        _taken_away(sighting)
        or (_gone(pod_name) if sighting.deletion is not None else None)
        or _init_failure(sighting)
        or carrier_failure(last_lines)
        or _ended(sighting, last_lines)
    )


def _gone(pod_name: str) -> StepError:
    return InfrastructureError(
        f"pod {pod_name} is gone and left no result of its own: it was deleted by somebody, evicted or "
        "preempted, or its node was taken away"
    )


def _taken_away(sighting: Sighting) -> StepError | None:
    """What the cluster did to the pod, by the pod's own status."""
    status, name = sighting.status, sighting.name
    message = " ".join(str(status.get("message") or "").split())
    reason = str(status.get("reason") or "")
    if reason == "Evicted" and _OWN_EVICTION.search(message):
        return UserError(
            f"pod {name} was evicted: {message}; let the step write less, or give its compute target more "
            "ephemeral_storage"
        )
    if reason == "DeadlineExceeded":
        return UserError(f"pod {name} ran longer than its activeDeadlineSeconds: {message}")
    if reason:  # Evicted, Preempting, Shutdown, Terminated, NodeLost, NodeAffinity, OutOfcpu, ...
        return InfrastructureError(
            f"pod {name} was ended by node {sighting.node}: {reason}" + (f": {message}" if message else "")
        )
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            told = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
            return InfrastructureError(f"pod {name} was taken off node {sighting.node}: {told}")
    if sighting.is_lost:
        return InfrastructureError(f"node {sighting.node} does not answer, pod {name} is lost with it")
    return None


def _init_failure(sighting: Sighting) -> StepError | None:
    for container in sighting.status.get("initContainerStatuses") or ():
        terminated = (container.get("state") or {}).get("terminated") or {}
        if terminated.get("exitCode"):
            return TargetError(
                f"init container {container.get('name')!r} of pod {sighting.name} ended with exit code "
                f"{terminated['exitCode']}: {_told(terminated)}; correct driver_image or the pod's patch"
            )
    return None


def _ended(sighting: Sighting, last_lines: list[str]) -> StepError:
    terminated = container_state(sighting.pod).get("terminated") or {}
    code = terminated.get("exitCode")
    if terminated.get("reason") in _NEVER_RAN:
        return TargetError(
            f"pod {sighting.name} could not start its container: {_told(terminated)}; correct the image, or "
            "python of the compute target"
        )
    if code is None or code in (KILLED, TERMINATED) or terminated.get("reason") == "ContainerStatusUnknown":
        return InfrastructureError(
            f"pod {sighting.name} on node {sighting.node} was killed from outside and left no result "
            f"({sighting.status.get('phase')}, exit code {code})"
        )
    quoted = "".join(f"\n    {line}" for line in last_lines)
    return TargetError(
        f"pod {sighting.name} ended with exit code {code} before it had a result"
        + (f"; its last lines were:{quoted}" if quoted else "; it printed nothing")
    )


def _told(terminated: Mapping[str, Any]) -> str:
    words = (" ".join(str(terminated.get(key) or "").split()) for key in ("reason", "message"))
    return ": ".join(filter(None, words)) or "nothing was said"


def _memory_limit(pod: Document) -> str | None:
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == STEP_CONTAINER:
            limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
            return None if limit is None else str(limit)
    return None


def _node(pod: Document) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")
