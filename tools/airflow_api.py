"""A client of Airflow's REST API, with the few verbs that the demo, the tests and the benchmarks need."""

from __future__ import annotations

import json as jsonlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from tools.console import say

T = TypeVar("T")
Document = dict[str, Any]

FINISHED_RUN_STATES = frozenset({"success", "failed"})
POLL_SECONDS = 0.4
REQUEST_SECONDS = 60.0


class AirflowRequestError(Exception):
    """The API refused a request. ``status`` is the HTTP status, ``body`` what the server said."""

    def __init__(self, method: str, url: str, status: int, body: str) -> None:
        super().__init__(f"{method} {url} was answered with {status}: {body}")
        self.status = status
        self.body = body


class AirflowApi:
    """The REST API of the Airflow at *url*; ``progress`` gets a line for every event of a wait.

    Every method raises AirflowRequestError when the API refuses, and ``OSError`` when it cannot be reached.
    """

    def __init__(self, url: str, progress: Callable[[str], None] = say) -> None:
        self.url = url
        self.progress = progress
        self._token = ""

    @property
    def token(self) -> str:
        """The bearer token of the user that logged in; empty before."""
        return self._token

    def log_in(self, username: str, password: str) -> None:
        """Get a token, which every later request carries."""
        answer = self.request("POST", "/auth/token", {"username": username, "password": password})
        self._token = answer["access_token"]

    def request(self, method: str, path: str, json: object = None) -> Document:
        """The JSON document that the server answers with, empty when it answers with nothing.

        *path* begins at the server's root, as in ``/api/v2/dags``.
        """
        document: Document = jsonlib.loads(self.fetch(method, path, json) or "{}")
        return document

    def fetch(self, method: str, path: str, json: object = None) -> str:
        """The text of the server's answer, pages included. For *path* and *json* see :meth:`request`."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if json is None else jsonlib.dumps(json).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:
                text: str = response.read().decode()
        except urllib.error.HTTPError as error:
            raise AirflowRequestError(
                method, request.full_url, error.code, error.read().decode(errors="replace")
            ) from error
        return text

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.request("PATCH", _dag(dag_id), {"is_paused": False})

    def trigger(
        self,
        dag_id: str,
        params: Document | None = None,
        conf: Document | None = None,
        *,
        run_id: str | None = None,
    ) -> str:
        """Start a run of the DAG, with *params* and further *conf*; returns its run id."""
        body: Document = {"logical_date": None, "conf": {**(conf or {}), **(params or {})}}
        if run_id is not None:
            body["dag_run_id"] = run_id
        started: str = self.request("POST", f"{_dag(dag_id)}/dagRuns", body)["dag_run_id"]
        return started

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 300.0) -> str:
        """The final state of the run, ``success`` or ``failed``.

        Raises TimeoutError, saying where each task stands, when it has none after *timeout* seconds.
        """
        seen: dict[str, str] = {}

        def final_state() -> str | None:
            state: str = self.request("GET", _run(dag_id, run_id))["state"]
            now = {_name(task): task["state"] or "waiting" for task in self.task_instances(dag_id, run_id)}
            for name in sorted(now, key=list(now).index):
                if now[name] not in (seen.get(name), "waiting", "scheduled", "queued"):
                    self.progress(f"  {name}: {now[name]}")
            seen.update(now)
            return state if state in FINISHED_RUN_STATES else None

        return self.wait_until(
            final_state, lambda: f"run {run_id} of DAG {dag_id} to end; its tasks: {seen}", timeout
        )

    def task_instances(self, dag_id: str, run_id: str) -> list[Document]:
        """The task instances of the run in the order in which they started, unstarted ones last."""
        found = list(self._pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances"))
        return sorted(found, key=lambda task: (task["start_date"] is None, task["start_date"] or ""))

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """The value that the task instance pushed under *key*."""
        entry = f"{_task(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}"
        return self.request("GET", f"{entry}?{urlencode({'map_index': map_index})}")["value"]

    def log_text(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """The log of one try of a task instance, a line for each message, with the errors it carries."""
        query = urlencode({"map_index": map_index, "full_content": "true"})
        log = self.request("GET", f"{_task(dag_id, run_id, task_id)}/logs/{try_number}?{query}")
        return "\n".join(_message_text(message) for message in log["content"])

    def clear(
        self, dag_id: str, run_id: str, task_ids: list[str] | None = None, *, downstream: bool = False
    ) -> None:
        """Have these tasks of the run, or all of them, run again; with *downstream* what follows them too."""
        body: Document = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": False,
            "include_downstream": downstream,
        }
        if task_ids is not None:
            body["task_ids"] = task_ids
        self.request("POST", f"{_dag(dag_id)}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Do what the button "Mark as ..." does to a task instance; *state* is "failed" or "success"."""
        instance = _task(dag_id, run_id, task_id) + (f"/{map_index}" if map_index >= 0 else "")
        self.request("PATCH", instance, {"new_state": state})

    def wait_until(self, condition: Callable[[], T | None], what: Callable[[], str], timeout: float) -> T:
        """The first value of *condition* that is not None.

        Raises TimeoutError that names *what* was awaited after *timeout* seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            value = condition()
            if value is not None:
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout:.0f} s in vain for {what()}")
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raise when waiting on is pointless; a client alone cannot know of any such case."""

    def _pages(self, path: str, key: str) -> Iterator[Document]:
        offset = 0
        while True:
            page = self.request("GET", f"{path}?{urlencode({'limit': 100, 'offset': offset})}")[key]
            yield from page
            offset += len(page)
            if len(page) < 100:
                return


def _dag(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _name(task: Document) -> str:
    index = task["map_index"]
    return task["task_id"] if index < 0 else f"{task['task_id']}[{index}]"


def _message_text(message: Document | str) -> str:
    if isinstance(message, str):
        return message
    errors = message.get("error_detail") or []
    return "\n".join([message["event"], *(f"{error['exc_type']}: {error['exc_value']}" for error in errors)])
