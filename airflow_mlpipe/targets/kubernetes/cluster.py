"""A Kubernetes cluster, asked with the official client."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.targets.kubernetes.api_call import (
    NOT_FOUND,
    Answer,
    ApiCall,
    Query,
    Refusal,
    list_events,
    read_log,
    read_pod,
)
from airflow_mlpipe.targets.kubernetes.persistence import Persistence
from airflow_mlpipe.targets.kubernetes.phases import Sighting

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
# A node that is frozen never ends the stream; a step may be silent, so asking again costs little.
SILENCE_SECONDS = 20.0
CHUNK_BYTES = 64 * 1024


class Cluster:
    """One namespace of a cluster, by *api*. What fails is asked again as *persistence* allows."""

    def __init__(self, api: CoreV1Api, namespace: str, persistence: Persistence | None = None) -> None:
        self.namespace = namespace
        self._client = api.api_client
        self._persistence = persistence or Persistence()

    def pod(self, name: str) -> Sighting | None:
        """The pod *name*, with what was told about it while it waits; None when there is none.

        Raises TargetError or InfrastructureError, as all that follows does.
        """
        try:
            answer = self.ask(read_pod(self.namespace, name))
        except Refusal as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise refusal.error() from refusal
        sighting = Sighting(answer.document, answer.at)
        if sighting.stage in ("running", "ended"):
            return sighting
        return Sighting(answer.document, answer.at, self._events(sighting.uid))

    def ask(self, call: ApiCall) -> Answer:
        """The answer to *call*; a Refusal that is final raises, and InfrastructureError when none comes."""
        while True:
            try:
                answer = self._answer(call)
            except Refusal as refusal:
                time.sleep(self._persistence.pause_after(refusal))
            else:
                self._persistence.succeeded(call)
                return answer

    def tell(self, call: ApiCall, *, besides: Collection[int] = ()) -> None:
        """Make *call*. A refusal with one of the statuses *besides* is as good as success."""
        try:
            self.ask(call)
        except Refusal as refusal:
            if refusal.status not in besides:
                raise refusal.error() from refusal

    def log(self, pod: str, query: Query) -> Iterator[bytes]:
        """The output of the pod's container as it comes; *query* says from where, and whether to follow it.

        Raises Refusal when it cannot be had, breaks off, or is silent for long.
        """
        call = read_log(self.namespace, pod, STEP_CONTAINER, query)
        with refusals(call):
            response = self._send(call, (CONNECT_SECONDS, SILENCE_SECONDS))
            try:
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    def _events(self, uid: str) -> list[dict[str, Any]] | None:
        try:
            return list(self.ask(list_events(self.namespace, uid)).document.get("items") or ())
        except Refusal:
            return None  # they explain more, but not everybody may read them

    def _answer(self, call: ApiCall) -> Answer:
        with refusals(call):
            response = self._send(call, (CONNECT_SECONDS, ANSWER_SECONDS))
            return Answer.of(call, response.data, response.headers.get("Date"))

    def _send(self, call: ApiCall, timeout: tuple[float, float]) -> Any:
        return self._client.call_api(**call.arguments, _request_timeout=timeout)


@contextmanager
def refusals(call: ApiCall) -> Iterator[None]:
    """Whatever goes wrong with the official client is a Refusal."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise Refusal.of(call, error.status, error.body or error.reason) from error
    except (HTTPError, OSError) as error:
        raise Refusal(call, 0, str(error)) from error
