"""Where a pod stands, how long it may stand there, and whose failure its end is: by what the API tells."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.targets.kubernetes.api_call import ApiCall, Refusal, create_secret, read_pod
from airflow_mlpipe.targets.kubernetes.failures import failure_of
from airflow_mlpipe.targets.kubernetes.persistence import Persistence
from airflow_mlpipe.targets.kubernetes.phases import Patience, PhaseLog, Sighting

CREATED, SCHEDULED, LATER = "2026-11-02T08:00:00Z", "2026-11-02T08:10:00Z", "2026-11-02T08:15:00Z"
EIGHT = 1793606400.0  # CREATED, in seconds since the epoch
PATIENCE = Patience(schedule=1800, pull=1200, start=300)

SHORTAGE = "0/6 nodes are available: 4 Insufficient nvidia.com/gpu, 2 node(s) had taint {sku: gpu}."
BOUND = {"type": "PodScheduled", "status": "True", "lastTransitionTime": SCHEDULED}
UNBOUND = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SHORTAGE}


def sighting(
    *,
    minute: float = 0,
    events: list[dict[str, Any]] | None = None,
    state: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> Sighting:
    """A pod, *minute* minutes after eight."""
    containers = [] if state is None else [{"name": "base", "state": state}]
    return Sighting(
        {
            "metadata": {"name": "p", "uid": "u", "creationTimestamp": CREATED, **(metadata or {})},
            "spec": {
                "nodeName": "" if UNBOUND in status.get("conditions", ()) else "gpu-1",
                "containers": [{"name": "base", "resources": {"limits": {"memory": "8Gi"}}}],
                **(spec or {}),
            },
            "status": {"phase": "Pending", "containerStatuses": containers, **status},
        },
        EIGHT + 60 * minute,
        events,
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def event(reason: str, message: str = "", at: str = SCHEDULED, kind: str = "Normal") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at, "type": kind}


def ended(reason: str, code: int, message: str = "", **more: Any) -> Sighting:
    state = {"terminated": {"reason": reason, "exitCode": code, "message": message}}
    return sighting(phase="Failed", state=state, conditions=[BOUND], **more)


FROZEN: dict[str, Any] = {
    "phase": "Running",
    "state": {"running": {}},
    "metadata": {"deletionTimestamp": LATER},
}
PREEMPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "preempting",
}
PULL = event("Failed", 'Failed to pull image "i": manifest unknown', kind="Warning")


@pytest.mark.parametrize(
    ("seen", "stage", "sentence"),
    [
        (sighting(conditions=[UNBOUND]), "scheduling", f"pod p: Pending: {SHORTAGE[:-1]}"),
        (
            sighting(spec={"nodeName": "", "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}),
            "queued",
            "pod p: Pending: waits to be admitted by its queue",
        ),
        (
            sighting(conditions=[BOUND], state=waiting("ContainerCreating"), events=[event("Pulling")]),
            "pulling",
            "pod p on node gpu-1: pulling image",
        ),
        (
            sighting(
                conditions=[BOUND],
                state=waiting("ContainerCreating"),
                events=[event("Pulling"), event("Pulled", at=LATER)],
            ),
            "starting",
            "pod p on node gpu-1: starting",
        ),
        (
            sighting(
                conditions=[BOUND],
                state=waiting("ContainerCreating"),
                events=[event("FailedMount", 'secret "s" not found', kind="Warning")],
            ),
            "starting",
            'pod p on node gpu-1: starting: secret "s" not found',
        ),
        (
            sighting(conditions=[BOUND], phase="Running", state={"running": {"startedAt": LATER}}),
            "running",
            "pod p: running on node gpu-1",
        ),
        (ended("Error", 1), "ended", "pod p: Failed on node gpu-1"),
        (
            sighting(
                minute=20, phase="Running", state={"running": {}}, metadata={"deletionTimestamp": LATER}
            ),
            "ended",
            "pod p: Running on node gpu-1",
        ),
    ],
)
def test_a_pod_stands_somewhere_and_a_sentence_says_where(seen: Sighting, stage: str, sentence: str) -> None:
    assert (seen.stage, seen.sentence()) == (stage, sentence)


@pytest.mark.parametrize(
    ("patient", "impatient", "words"),
    [
        (
            sighting(minute=29, conditions=[UNBOUND]),
            sighting(minute=31, conditions=[UNBOUND]),
            f"found no node within 0:30:00: {SHORTAGE[:-1]};",
        ),
        (
            sighting(minute=29, conditions=[BOUND], state=waiting("ErrImagePull", "timeout"), events=[]),
            sighting(minute=31, conditions=[BOUND], state=waiting("ErrImagePull", "timeout"), events=[]),
            "did not get its image on node gpu-1 within 0:20:00: ErrImagePull: timeout;",
        ),
        (
            sighting(minute=19, conditions=[BOUND], events=[event("Pulled", at=LATER)]),
            sighting(minute=21, conditions=[BOUND], events=[event("Pulled", at=LATER)]),
            "did not start on node gpu-1 within 0:05:00: the node gave no reason;",
        ),
        (
            sighting(conditions=[BOUND], state=waiting("ImagePullBackOff", "back-off"), events=[]),
            sighting(conditions=[BOUND], state=waiting("ImagePullBackOff", "back-off"), events=[PULL]),
            'cannot start: Failed to pull image "i": manifest unknown;',
        ),
        (
            sighting(conditions=[BOUND], state=waiting("ContainerCreating"), events=[]),
            sighting(conditions=[BOUND], state=waiting("CreateContainerConfigError", "no such key")),
            "cannot start: CreateContainerConfigError: no such key;",
        ),
    ],
)
def test_waiting_ends_with_the_time_for_it_and_at_once_for_what_cannot_come(
    patient: Sighting, impatient: Sighting, words: str
) -> None:
    assert patient.hopeless(PATIENCE) is None
    failure = impatient.hopeless(PATIENCE)
    assert isinstance(failure, TargetError)
    assert words in str(failure)


def test_how_long_a_queue_takes_is_its_own_affair() -> None:
    labels = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    assert sighting(minute=600, conditions=[UNBOUND], metadata=labels).hopeless(PATIENCE) is None


@pytest.mark.parametrize(
    ("seen", "lines", "kind", "words"),
    [
        (None, [], InfrastructureError, "is gone and left no result"),
        (ended("OOMKilled", 137), [], UserError, "ran out of memory: its limit is 8Gi"),
        (
            sighting(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            [],
            InfrastructureError,
            "Evicted: The node was low on resource",
        ),
        (
            sighting(
                phase="Failed",
                reason="Evicted",
                message="Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
            ),
            [],
            UserError,
            "more ephemeral_storage",
        ),
        (
            sighting(phase="Failed", conditions=[PREEMPTED]),
            [],
            InfrastructureError,
            "taken off node gpu-1: PreemptionByScheduler: preempting",
        ),
        (
            sighting(
                minute=20, phase="Running", state={"running": {}}, metadata={"deletionTimestamp": LATER}
            ),
            [],
            InfrastructureError,
            "node gpu-1 does not answer",
        ),
        (
            ended("Error", 70),
            ["mlpipe-carrier: infrastructure: the store is away"],
            InfrastructureError,
            "the store is away",
        ),
        (ended("Error", 71), ["mlpipe-carrier: target: install s3fs"], TargetError, "install s3fs"),
        (ended("StartError", 128, 'exec: "python9"'), [], TargetError, 'exec: "python9"'),
        (ended("Error", 1), ["SyntaxError"], TargetError, "its last lines were:\n    SyntaxError"),
        (ended("Error", 137), [], InfrastructureError, "was killed from outside"),
        (
            sighting(
                phase="Failed",
                initContainerStatuses=[
                    {"name": "drivers", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
                ],
            ),
            [],
            TargetError,
            "init container 'drivers' of pod p ended with exit code 1",
        ),
    ],
)
def test_an_end_without_a_result_is_somebodys_failure(
    seen: Sighting | None, lines: list[str], kind: type[StepError], words: str
) -> None:
    failure = failure_of(seen, "p", lines)
    assert type(failure) is kind
    assert words in str(failure)


def test_a_phase_is_told_when_it_changes_and_once_a_minute_while_the_pod_waits() -> None:
    now = [0.0]
    phases = PhaseLog(lambda: now[0])
    pending, running = sighting(conditions=[UNBOUND]), sighting(state={"running": {}}, phase="Running")
    told = []
    for seen, second in ((pending, 0), (pending, 59), (pending, 60), (running, 61), (running, 600)):
        now[0] = second
        told.append(phases.news(seen) is not None)
    assert told == [True, False, True, True, False]


FORBIDDEN = b'{"kind": "Status", "message": "secrets is forbidden: User \\"me\\" cannot create"}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (403, FORBIDDEN, TargetError, "may not create secrets in namespace 'ml': secrets is forbidden"),
        (
            403,
            b'pods "p" is forbidden: exceeded quota: gpus',
            TargetError,
            "quota of namespace 'ml' is used up",
        ),
        (401, b"Unauthorized", TargetError, "renew them"),
        (422, b"Pod is invalid: spec", TargetError, "Pod is invalid: spec (status 422)"),
        (503, b"etcd is away", InfrastructureError, "etcd is away"),
        (None, b"", InfrastructureError, "does not answer"),
    ],
)
def test_a_refusal_of_the_api_is_somebodys_failure(
    status: int | None, body: bytes, kind: type[StepError], words: str
) -> None:
    error = Refusal.of(create_secret("ml", {}), status, body).error()
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    "reason",
    [
        'violates PodSecurity "restricted:latest": hostPath volumes (volume "data")',
        'error looking up service account ml/trainer: serviceaccount "trainer" not found',
        "maximum memory usage per Container is 8Gi, but limit is 80Gi",
    ],
)
def test_a_pod_that_is_not_admitted_is_no_matter_of_roles(reason: str) -> None:
    call = ApiCall("create", "pods", "ml", "p")
    error = Refusal(call, 403, f'pods "p" is forbidden: {reason}').error()
    assert type(error) is TargetError
    assert str(error) == (
        f"the cluster does not admit the pod in namespace 'ml': pods \"p\" is forbidden: {reason}; "
        "correct the compute target"
    )


def test_an_api_that_is_away_is_asked_again_until_the_patience_with_it_ends() -> None:
    now = [0.0]
    persistence = Persistence(20, lambda: now[0])
    silence, pauses = Refusal(read_pod("ml", "p"), 0, "gone"), []
    for _ in range(7):
        pauses.append(persistence.pause_after(silence))
        now[0] += pauses[-1]
    assert pauses == [0.25, 0.5, 1, 2, 4, 5, 5]
    with pytest.raises(InfrastructureError, match="does not answer: gone"):
        persistence.pause_after(silence)


def test_a_denial_is_final_unless_the_same_was_granted_before() -> None:
    persistence = Persistence()
    denial = Refusal(read_pod("ml", "p"), 403, "not yet")
    with pytest.raises(Refusal):
        persistence.pause_after(denial)
    persistence.succeeded(read_pod("ml", "other"))
    assert persistence.pause_after(denial) > 0
