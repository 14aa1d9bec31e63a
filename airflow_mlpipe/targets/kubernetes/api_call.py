"""Calls of the Kubernetes API, as plain data, and what its refusals mean."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError

NOT_FOUND, CONFLICT = 404, 409
_REFUSED = (401, 403)
_TRANSIENT = (408, 429)

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ApiCall:
    """One request. ``verb`` and ``resource`` are what a role has to grant for it."""

    verb: str
    resource: str
    namespace: str
    name: str = ""
    query: Query = ()
    body: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return {"create": "POST", "delete": "DELETE", "patch": "PATCH"}.get(self.verb, "GET")

    @property
    def path(self) -> str:
        """The path of the URL."""
        kind, _, part = self.resource.partition("/")
        return "/".join(filter(None, ("/api/v1/namespaces", self.namespace, kind, self.name, part)))

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``call_api`` takes, of either official client, to send it and leave the answer unread."""
        sent = "application/merge-patch+json" if self.verb == "patch" else "application/json"
        return {
            "resource_path": self.path,
            "method": self.method,
            "path_params": {},
            "query_params": list(self.query),
            "header_params": {"Accept": "application/json, */*", "Content-Type": sent},
            "body": self.body,
            "auth_settings": ["BearerToken"],
            "_preload_content": False,
            "_return_http_data_only": True,
        }


def read_pod(namespace: str, name: str) -> ApiCall:
    """The pod with its status."""
    return ApiCall("get", "pods", namespace, name)


def list_events(namespace: str, pod_uid: str) -> ApiCall:
    """What the cluster has told about a pod."""
    return ApiCall("list", "events", namespace, query=(("fieldSelector", f"involvedObject.uid={pod_uid}"),))


def read_log(namespace: str, name: str, container: str, query: Query) -> ApiCall:
    """A container's output; *query* says from where, and whether to follow it."""
    return ApiCall("get", "pods/log", namespace, name, (("container", container), *query))


def delete_pod(namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> ApiCall:
    """End the pod that has this *uid*, within its own grace by default, and take it away."""
    grace = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, **grace}
    return ApiCall("delete", "pods", namespace, name, body=body)


def create_secret(namespace: str, manifest: dict[str, Any]) -> ApiCall:
    """Create a Secret."""
    return ApiCall("create", "secrets", namespace, body=manifest)


def delete_secret(namespace: str, name: str) -> ApiCall:
    """Take a Secret away."""
    return ApiCall("delete", "secrets", namespace, name)


def own_secret(namespace: str, name: str, pod: Mapping[str, Any]) -> ApiCall:
    """Make *pod* the owner of a Secret, which then goes with it."""
    metadata = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    return ApiCall("patch", "secrets", namespace, name, body={"metadata": {"ownerReferences": [owner]}})


class Answer(NamedTuple):
    """What the API server answered, and when by its own clock, in seconds since the epoch."""

    document: dict[str, Any]
    at: float

    @classmethod
    def of(cls, call: ApiCall, body: bytes, date: str | None) -> Answer:
        """The answer with this *body* and the header *date*; Refusal when either cannot be read."""
        try:
            at = time.time() if date is None else parsedate_to_datetime(date).timestamp()
            return cls(json.loads(body), at)
        except ValueError as error:
            raise Refusal(call, 0, f"what it sent cannot be read: {error}") from error


class Refusal(Exception):
    """The API server answered a call with an error; ``status`` is that of HTTP, 0 when it did not answer."""

    def __init__(self, call: ApiCall, status: int, text: str) -> None:
        super().__init__(f"{call.verb} {call.resource} {call.name}: {status} {text}")
        self.call = call
        self.status = status
        self.text = text

    @classmethod
    def of(cls, call: ApiCall, status: int | None, body: object) -> Refusal:
        """The refusal with this *status* and *body*, which is a Status object as a rule."""
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if isinstance(document, dict):
            text = str(document.get("message") or text)
        return cls(call, status or 0, text.strip())

    @property
    def is_denied(self) -> bool:
        """Whether the credentials do not do."""
        return self.status in _REFUSED

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status in _TRANSIENT or self.status >= 500 or self.status == 0

    def error(self) -> StepError:
        """What it means for a step."""
        call = self.call
        where = f"namespace {call.namespace!r}"
        if self.status == 401:
            return TargetError(
                f"the Kubernetes API does not accept the connection's credentials: {self.text}; renew them"
            )
        if self.status == 403 and "exceeded quota" in self.text:
            return TargetError(
                f"the quota of {where} is used up: {self.text}; raise it, ask for less, or give the target "
                "an Airflow pool so that fewer steps run there at once"
            )
        if self.status == 403 and " cannot " in self.text:  # as in: User "me" cannot create resource "pods"
            return TargetError(
                f"the connection's credentials may not {call.verb} {call.resource} in {where}: {self.text}; "
                f"grant their role the verb {call.verb!r} on {call.resource!r}"
            )
        if self.status == 403 and call.verb == "create":
            noun = call.resource.removesuffix("s")
            return TargetError(
                f"the cluster does not admit the {noun} in {where}: {self.text}; correct the compute target"
            )
        if self.is_transient:
            return InfrastructureError(
                f"the Kubernetes API does not answer: {self.text or 'nothing was said'}"
            )
        what = " ".join(filter(None, (call.verb, call.resource, call.name)))
        return TargetError(
            f"the Kubernetes API refused to {what} in {where}: {self.text} (status {self.status}); "
            "correct the compute target"
        )
