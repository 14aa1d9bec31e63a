"""Where a pod stands, and how long it may stand there: read from what the API server tells of it.

Pods and events are the plain JSON objects of the API, so that every client can ask for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.pod_patch import STEP_CONTAINER

Stage = Literal["queued", "scheduling", "pulling", "starting", "running", "ended"]

SAY_AGAIN_SECONDS = 60.0

_OVER = ("Succeeded", "Failed")
_PULL_FAILURES = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
# What no waiting mends.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError")
_HOPELESS_PULLS = (
    "not found",
    "does not exist",
    "manifest unknown",
    "unauthorized",
    "denied",
    "no match for",
)
# Warnings that tell nothing of what a scheduled pod waits for.
_NOT_OF_THE_START = ("FailedScheduling", "Failed", "MissingClusterDNS")

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long a pod may wait: for a node, then for its images, then until it runs. All in seconds."""

    schedule: float
    pull: float
    start: float


def patience_of(target: KubernetesTarget) -> Patience:
    """How long pods of *target* may wait."""
    return Patience(
        target.schedule_timeout.total_seconds(),
        target.image_pull_timeout.total_seconds(),
        target.startup_timeout.total_seconds(),
    )


@dataclass(frozen=True)
class Sighting:
    """A pod as it was at the server's time *at*, in seconds since the epoch.

    ``events`` are those about it; None when they were not asked for, or may not be read.
    """

    pod: Document
    at: float
    events: Sequence[Document] | None = None

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def status(self) -> Document:
        return self.pod.get("status") or {}

    @property
    def node(self) -> str:
        return str((self.pod.get("spec") or {}).get("nodeName") or "")

    @property
    def deletion(self) -> float | None:
        """By when the pod is to be gone, which somebody asked for; None when nobody did."""
        return _seconds(self.pod["metadata"].get("deletionTimestamp"))

    @property
    def is_lost(self) -> bool:
        """Whether it should have been gone for a while: its node does not carry that out."""
        return self.deletion is not None and self.at > self.deletion + 60

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        state = container_state(self.pod)
        if self.status.get("phase") in _OVER or "terminated" in state or self.is_lost:
            return "ended"
        if "running" in state:
            return "running"
        if self._scheduled_at is None:
            gates = (self.pod.get("spec") or {}).get("schedulingGates")
            return "queued" if gates else "scheduling"
        if any(reason in _PULL_FAILURES for reason, _ in self._waiting()) or self._is_pulling:
            return "pulling"
        return "starting"

    def sentence(self) -> str:
        """Where it stands, for the log."""
        stage, pod = self.stage, f"pod {self.name}"
        if stage == "queued":
            return f"{pod}: Pending: waits to be admitted by its queue"
        if stage == "scheduling":
            return f"{pod}: Pending: {self._unschedulable or 'waits for a node'}"
        if stage == "running":
            return f"{pod}: running on node {self.node}"
        if stage == "ended":
            return f"{pod}: {self.status.get('phase', 'ended')} on node {self.node or 'none'}"
        where = f"{pod} on node {self.node}"
        cause = self._trouble
        if stage == "pulling":
            return f"{where}: {cause}" if cause else f"{where}: pulling image"
        return f"{where}: starting{f': {cause}' if cause else ''}"

    def hopeless(self, patience: Patience) -> TargetError | None:
        """Why there is no use in waiting for it any longer; None when there may be."""
        for reason, message in self._waiting():
            told = f"{reason}: {message}".rstrip(": ")
            if reason in _HOPELESS or (reason in _PULL_FAILURES and self._is_hopeless_pull(message)):
                cause = self._pull_failure if reason in _PULL_FAILURES else ""
                return TargetError(
                    f"pod {self.name} cannot start: {cause or told}; correct the image or the compute target"
                )
        stage = self.stage
        if self.deletion is not None:
            return None
        if stage == "scheduling" and self._waited_for(self.created_at) > patience.schedule:
            return TargetError(
                f"pod {self.name} found no node within {_span(patience.schedule)}: "
                f"{self._unschedulable or 'the scheduler gave no reason'}; make room, correct what the "
                "target asks for, or let it wait longer (schedule_timeout)"
            )
        if stage == "pulling" and self._waited_for(self._scheduled_at) > patience.pull:
            return TargetError(
                f"pod {self.name} did not get its image on node {self.node} within {_span(patience.pull)}: "
                f"{self._trouble or 'it is still being pulled'}; correct the image, or let it wait longer "
                "(image_pull_timeout)"
            )
        if stage == "starting" and self._waited_for(self._startable_at) > patience.start:
            return TargetError(
                f"pod {self.name} did not start on node {self.node} within {_span(patience.start)}: "
                f"{self._trouble or 'the node gave no reason'}; correct that, or let it wait longer "
                "(startup_timeout)"
            )
        return None

    def _waited_for(self, since: float | None) -> float:
        return 0.0 if since is None or self._is_queued_by_name else self.at - since

    @property
    def _is_queued_by_name(self) -> bool:
        """Whether a queue decides when it is scheduled; how long that takes is the queue's affair."""
        labels = self.pod["metadata"].get("labels") or {}
        return self.stage == "scheduling" and "kueue.x-k8s.io/queue-name" in labels

    @property
    def created_at(self) -> float | None:
        """When it was made, in seconds since the epoch."""
        return _seconds(self.pod["metadata"].get("creationTimestamp"))

    @property
    def _condition(self) -> Document:
        conditions = self.status.get("conditions") or ()
        return next((item for item in conditions if item.get("type") == "PodScheduled"), {})

    @property
    def _scheduled_at(self) -> float | None:
        if self._condition.get("status") == "True":
            return _seconds(self._condition.get("lastTransitionTime"))
        return self.created_at if self.node else None

    @property
    def _startable_at(self) -> float | None:
        """Since when nothing but its start is missing; without events that cannot be told from pulling."""
        pulled = [_time_of(event) for event in self.events or () if event.get("reason") == "Pulled"]
        return max([*pulled, self._scheduled_at or 0.0])

    @property
    def _is_pulling(self) -> bool:
        if self.events is None:
            return True
        told = [event for event in self.events if event.get("reason") in ("Pulling", "Pulled")]
        return bool(told) and max(told, key=_time_of).get("reason") == "Pulling"

    @property
    def _unschedulable(self) -> str:
        return _one_line(self._condition.get("message")).rstrip(".")

    @property
    def _pull_failure(self) -> str:
        """Why the image could not be pulled, by the events: the status says no more than "back-off"."""
        failures = [
            event
            for event in self.events or ()
            if event.get("reason") == "Failed" and "image" in str(event.get("message", "")).lower()
        ]
        causes = [event for event in failures if not str(event.get("message")).startswith("Error: ")]
        return _one_line(max(causes, key=_time_of).get("message")) if causes else ""

    def _is_hopeless_pull(self, message: str) -> bool:
        return any(word in f"{message} {self._pull_failure}".lower() for word in _HOPELESS_PULLS)

    @property
    def _trouble(self) -> str:
        """What keeps a scheduled pod from running; "" when it is only not that far yet."""
        for reason, message in self._waiting():
            if reason in _PULL_FAILURES:
                return self._pull_failure or f"{reason}: {message}".rstrip(": ")
            if reason not in ("ContainerCreating", "PodInitializing"):
                return f"{reason}: {message}".rstrip(": ")
        warnings = [event for event in self.events or () if event.get("type") == "Warning"]
        late = [event for event in warnings if event.get("reason") not in _NOT_OF_THE_START]
        return _one_line(max(late, key=_time_of).get("message")) if late else ""

    def _waiting(self) -> Iterator[tuple[str, str]]:
        """Reason and message of each container that waits."""
        for kind in ("initContainerStatuses", "containerStatuses"):
            for container in self.status.get(kind) or ():
                waiting = (container.get("state") or {}).get("waiting")
                if waiting:
                    yield str(waiting.get("reason") or ""), _one_line(waiting.get("message"))


@dataclass
class PhaseLog:
    """Says where a pod stands when that changes, and once a minute while it waits.

    *stopwatch* counts seconds and never goes back.
    """

    stopwatch: Callable[[], float]
    _said: str = field(default="", init=False)
    _said_at: float = field(default=-math.inf, init=False)

    def news(self, sighting: Sighting) -> str | None:
        """What to say of the pod now, if anything."""
        sentence, now = sighting.sentence(), self.stopwatch()
        waits = sighting.stage not in ("running", "ended")
        if sentence == self._said and not (waits and now - self._said_at >= SAY_AGAIN_SECONDS):
            return None
        self._said, self._said_at = sentence, now
        return sentence


def container_state(pod: Document, name: str = STEP_CONTAINER) -> Document:
    """The state of a container as the API has it: its one key is waiting, running or terminated."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    found: Document = next((item for item in statuses if item.get("name") == name), {})
    return {kind: told for kind, told in (found.get("state") or {}).items() if told is not None}


def _time_of(event: Document) -> float:
    stamps = (event.get(key) for key in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return next((seconds for stamp in stamps if (seconds := _seconds(stamp)) is not None), 0.0)


def _seconds(stamp: object) -> float | None:
    """Seconds since the epoch of a time of the API, which is always in UTC; None for none."""
    if not stamp:
        return None
    whole, _, fraction = str(stamp).rstrip("Z").partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
