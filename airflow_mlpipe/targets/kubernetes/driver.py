"""The Kubernetes target: a step is a pod, and comes and goes by way of the datastore.

Its pod and the Secret with its parcel are found again by their names, which follow from the attempt's id.
"""

from __future__ import annotations

import base64
import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.records import LaunchSpec, Private, StepResult
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix
from airflow_mlpipe.targets.attempt_records import RESULT, AttemptRecords
from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, AttemptState, Container
from airflow_mlpipe.targets.kubernetes.api_call import (
    CONFLICT,
    NOT_FOUND,
    ApiCall,
    Refusal,
    create_secret,
    delete_pod,
    delete_secret,
    own_secret,
)
from airflow_mlpipe.targets.kubernetes.bookmark import Bookmark
from airflow_mlpipe.targets.kubernetes.cluster import Cluster, refusals
from airflow_mlpipe.targets.kubernetes.failures import failure_of, out_of_memory
from airflow_mlpipe.targets.kubernetes.log_stream import LogReader
from airflow_mlpipe.targets.kubernetes.names import pod_name, secret_name
from airflow_mlpipe.targets.kubernetes.phases import Patience, PhaseLog, Sighting, patience_of
from airflow_mlpipe.targets.kubernetes.pod import (
    MANAGED_BY,
    PARCEL_FOLDER,
    pod_manifest,
    refuse_hidden_datastore,
)
from airflow_mlpipe.targets.log_file import last_of
from airflow_mlpipe.targets.parcel import Parcel, boot_command

log = logging.getLogger(__name__)

ASK_SECONDS = 0.5  # between two looks at a pod
UPLOAD_SECONDS = 30.0  # what a step that is told to end has beyond its grace, to bring back what it made
FORCE_SECONDS = 15.0  # what a node has beyond that to take a pod away
END_SECONDS = 30.0  # what the cluster may need at most to know that a step has ended
LOG_TRIES = 5  # to read the rest of a log when the step has ended
LAST_LINES = 20


@dataclass(frozen=True)
class KubernetesDriver:
    """Runs attempts as pods of *cluster*; *runtime* is the folder of the runtime bundle.

    *submit* creates a pod from its manifest. Records are kept in *datastore*. *follower* is the try of a task
    that shows the logs.
    """

    cluster: Cluster
    target: KubernetesTarget
    submit: Callable[[dict[str, Any]], None]
    runtime: Path
    datastore: Datastore
    follower: str = ""

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; a lost attempt is started again.

        It has started when its pod exists, which may wait for its node for long.
        """
        if self.status(attempt) in ("running", "finished"):
            return
        if container is None:
            raise TargetError(
                f"compute target {self.target.name!r} runs steps in containers; give it an image"
            )
        manifest = pod_manifest(
            self.target,
            spec.attempt,
            spec.run,
            namespace=self.cluster.namespace,
            image=container.image,
            command=boot_command(self.target.python, PARCEL_FOLDER),
            grace_seconds=spec.termination_grace_seconds + UPLOAD_SECONDS,
        )
        refuse_hidden_datastore(self.target, manifest, spec.carriage)
        if (lost := self._pod(attempt)) is not None:
            self._delete_pod(lost, 0)
            self._await_end(lost)
        self._forget_end(attempt)
        attempt.path.mkdir(parents=True, exist_ok=True)
        attempt.write_spec(spec)
        self._records.send(attempt)
        self._create_secret(attempt, Parcel.of(spec, private, self.runtime))
        self._create_pod(attempt, manifest)
        self._bind_secret(attempt)

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        An attempt whose pod waits in vain is lost: it has waited for too long, or for what cannot come.
        """
        return self._state(attempt, self._pod(attempt))

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; the lines are those of LogLines.

        It goes on after what the triggerer has shown of them to the same try. Until the pod runs, its phases
        are told in the worker's own log.
        """
        reader = LogReader(self._bookmark(attempt).read(), offset)
        phases, tries, is_told = PhaseLog(time.monotonic), 0, False
        while (sighting := self._pod(attempt)) is not None:
            if (sentence := phases.news(sighting)) is not None:
                log.info("%s", sentence)
            if sighting.hopeless(self._patience) is not None:
                return
            # The result comes last, and the cluster knows of the end a second later.
            is_over = sighting.stage == "ended" or is_told
            tries += is_over
            if is_over or sighting.stage == "running":
                try:
                    for chunk in self.cluster.log(sighting.name, reader.query(follow=not is_over)):
                        yield from reader.feed(chunk)
                except Refusal as refusal:
                    if is_over and (sighting.is_lost or tries >= LOG_TRIES):
                        log.warning("The rest of the log of pod %s is lost: %s", sighting.name, refusal.text)
                        return
                else:
                    if is_over:
                        yield from reader.close()
                        return
                    if is_told := self._has_result(attempt):
                        continue
            time.sleep(ASK_SECONDS)
        if self._state(attempt, None) != "unknown":
            log.info("Pod %s is gone; what it wrote is in %s", _name(attempt), self._log_url(attempt))

    def terminate(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        Returns within the attempt's grace period and the time that it has for its uploads, at the most. Its
        end is asked for at once, so that it comes also when nobody stays to see it.
        """
        sighting = self._pod(attempt)
        state = self._state(attempt, sighting)
        if sighting is not None and sighting.stage != "ended" and state != "finished":
            self.datastore.write(_unwanted_key(attempt), b"{}\n")
            self._delete_pod(sighting)
            self._await_end(sighting, lambda: self._has_result(attempt))
        if state == "unknown" or attempt.result_path.exists():
            return
        self.collect(attempt)
        if not attempt.result_path.exists():
            attempt.path.mkdir(parents=True, exist_ok=True)
            attempt.write_result(_terminated(attempt, sighting))

    def result(self, attempt: AttemptDirectory) -> StepResult:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        sighting = self._pod(attempt)
        state = self._state(attempt, sighting)
        if state == "finished":
            self.collect(attempt)
            return self._with_memory(attempt)
        if state != "lost":
            raise InfrastructureError(f"attempt {attempt.attempt} has no result, it is {state}")
        if sighting is not None and (reason := sighting.hopeless(self._patience)) is not None:
            raise reason
        raise failure_of(sighting, _name(attempt), self._last_lines(sighting))

    def collect(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        self._records.fetch(attempt)

    def discard(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        The pod stays when it failed and the target keeps those; the Secret goes in any case. Raises
        InfrastructureError when both stay, because the attempt runs.
        """
        sighting = self._pod(attempt)
        if self._state(attempt, sighting) == "running":
            raise InfrastructureError(
                f"pod {_name(attempt)} and its Secret {secret_name(attempt.attempt)} stay in namespace "
                f"{self.cluster.namespace!r}, because the attempt runs; delete the pod, and both go"
            )
        if sighting is not None and not (self.target.keep_failed_pods and _has_failed(attempt, sighting)):
            self._delete_pod(sighting)
        self._delete_secret(attempt)

    @property
    def _records(self) -> AttemptRecords:
        return AttemptRecords(self.datastore)

    def _bookmark(self, attempt: AttemptDirectory) -> Bookmark:
        return Bookmark(self.datastore, attempt.attempt, self.follower)

    @property
    def _patience(self) -> Patience:
        return patience_of(self.target)

    def _pod(self, attempt: AttemptDirectory) -> Sighting | None:
        return self.cluster.pod(_name(attempt))

    def _log_url(self, attempt: AttemptDirectory) -> str:
        return self._records.url(attempt.attempt, "log.txt")

    def _has_result(self, attempt: AttemptDirectory) -> bool:
        return attempt.result_path.exists() or self._records.has_result(attempt)

    def _state(self, attempt: AttemptDirectory, sighting: Sighting | None) -> AttemptState:
        waits = sighting is not None and sighting.stage not in ("running", "ended")
        if not waits and self._has_result(attempt):
            return "lost" if self._was_taken_away(attempt, sighting) else "finished"
        if sighting is not None and sighting.stage != "ended":
            return "running" if sighting.hopeless(self._patience) is None else "lost"
        is_known = sighting is not None or self._records.has_spec(attempt)
        return "lost" if is_known else "unknown"

    def _was_taken_away(self, attempt: AttemptDirectory, sighting: Sighting | None) -> bool:
        """Whether the step was told to end by somebody else: its pod was evicted, preempted, or deleted."""
        if sighting is not None and sighting.deletion is None:
            return False
        self.collect(attempt)
        asked_for = self.datastore.exists(_unwanted_key(attempt))
        return not asked_for and attempt.read_result().status == "terminated"

    def _forget_end(self, attempt: AttemptDirectory) -> None:
        """Have an attempt that was lost begin anew: it may have said that it was told to end."""
        attempt.result_path.unlink(missing_ok=True)
        for key in (_unwanted_key(attempt), f"{attempt_prefix(attempt.attempt)}/{RESULT}"):
            self.datastore.delete(key)

    # -- what an attempt is in the cluster --------------------------------------------------------------

    def _create_secret(self, attempt: AttemptDirectory, parcel: Parcel) -> None:
        data = {name: base64.b64encode(content).decode("ascii") for name, content in parcel.files().items()}
        metadata = {"name": secret_name(attempt.attempt), "labels": dict(MANAGED_BY)}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        create = create_secret(self.cluster.namespace, manifest)
        try:
            self.cluster.ask(create)
        except Refusal as refusal:
            if refusal.status != CONFLICT:
                raise refusal.error() from refusal
            self._delete_secret(attempt)  # of a launch that came no further
            self.cluster.tell(create)

    def _create_pod(self, attempt: AttemptDirectory, manifest: dict[str, Any]) -> None:
        call = ApiCall("create", "pods", self.cluster.namespace, manifest["metadata"]["name"])
        try:
            with refusals(call):
                self.submit(manifest)
        except Refusal as refusal:
            if refusal.status == CONFLICT and self.cluster.pod(call.name) is not None:
                return  # another worker of this attempt was faster
            self._delete_secret(attempt)
            raise refusal.error() from refusal

    def _bind_secret(self, attempt: AttemptDirectory) -> None:
        """See that the Secret goes with its pod, also when nobody comes back to take it away."""
        sighting = self._pod(attempt)
        if sighting is None:
            return
        name = secret_name(attempt.attempt)
        try:
            self.cluster.ask(own_secret(self.cluster.namespace, name, sighting.pod))
        except Refusal as refusal:
            log.warning("Secret %s is not bound to its pod, and may stay behind: %s", name, refusal.error())

    def _delete_pod(self, sighting: Sighting, grace: int | None = None) -> None:
        """Have a pod end, within its own grace by default, and go; one that does not run needs none."""
        grace = 0 if sighting.stage != "running" else grace
        call = delete_pod(self.cluster.namespace, sighting.name, sighting.uid, grace)
        self.cluster.tell(call, besides=(NOT_FOUND, CONFLICT))

    def _await_end(self, sighting: Sighting, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait until a deleted pod is gone, or until *is_over*; in the end without asking its node."""
        grace = int((sighting.pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0)
        for seconds in (grace, 0):
            deadline = time.monotonic() + seconds + FORCE_SECONDS
            while time.monotonic() < deadline:
                now = self.cluster.pod(sighting.name)
                if now is None or now.uid != sighting.uid or is_over():
                    return
                time.sleep(ASK_SECONDS)
            self._delete_pod(sighting, 0)
        where = f"namespace {self.cluster.namespace!r}"
        raise InfrastructureError(
            f"pod {sighting.name} in {where} was deleted and does not go; look at it there"
        )

    def _delete_secret(self, attempt: AttemptDirectory) -> None:
        call = delete_secret(self.cluster.namespace, secret_name(attempt.attempt))
        self.cluster.tell(call, besides=(NOT_FOUND,))

    def _with_memory(self, attempt: AttemptDirectory) -> StepResult:
        """The result, with what only the node may know: that a process was killed for want of memory."""
        result = attempt.read_result()
        if result.exit_code != -signal.SIGKILL or result.out_of_memory:
            return result
        deadline = time.monotonic() + END_SECONDS
        while (sighting := self._pod(attempt)) is not None:
            if sighting.stage == "ended" and (memory := out_of_memory(sighting.pod)) is not None:
                return replace(result, out_of_memory=True, message=str(memory))
            if sighting.stage == "ended" or time.monotonic() >= deadline:
                break
            time.sleep(ASK_SECONDS)
        return result

    def _last_lines(self, sighting: Sighting | None) -> list[str]:
        if sighting is None or sighting.is_lost:  # its node would be asked
            return []
        try:
            return last_of(b"".join(self.cluster.log(sighting.name, (("tailLines", str(LAST_LINES)),))))
        except Refusal:
            return []


def _name(attempt: AttemptDirectory) -> str:
    return pod_name(attempt.attempt)


def _unwanted_key(attempt: AttemptDirectory) -> str:
    """Tells every worker that the end of an attempt was asked for."""
    return f"{attempt_prefix(attempt.attempt)}/unwanted.json"


def _terminated(attempt: AttemptDirectory, sighting: Sighting | None) -> StepResult:
    created = None if sighting is None else sighting.created_at
    return StepResult(
        attempt=attempt.attempt,
        status="terminated",
        exit_code=None,
        started_at=time.time() if created is None else created,
        finished_at=time.time(),
        message="its pod was deleted on request before it had a result",
    )


def _has_failed(attempt: AttemptDirectory, sighting: Sighting) -> bool:
    if attempt.result_path.exists():
        return attempt.read_result().status != "succeeded"
    return sighting.status.get("phase") != "Succeeded"
