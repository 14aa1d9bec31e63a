"""The trigger that watches an attempt: what it is made of, and what it does without a cluster."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time import task_runner

from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.operators.step import TRIGGER_SECONDS
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, copies_key
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.store.run_record import RunRecord, RunRecords
from airflow_mlpipe.targets.kubernetes.async_cluster import AsyncCluster
from airflow_mlpipe.targets.kubernetes.bookmark import Bookmark
from airflow_mlpipe.targets.kubernetes.log_stream import LogPosition
from airflow_mlpipe.targets.kubernetes.phases import Sighting
from airflow_mlpipe.triggers import attempt as module
from airflow_mlpipe.triggers.attempt import AttemptTrigger
from airflow_mlpipe.triggers.finishing import finished

LEASE = "ab" * 32
RUNNING = {
    "metadata": {"name": "p", "uid": "1"},
    "status": {"containerStatuses": [{"name": STEP_CONTAINER, "state": {"running": {}}}]},
}
TASK = ProducerReference(dag_id="d", run_id="r", task_id="t")


@pytest.fixture
def store(tmp_path: Path) -> Datastore:
    return Datastore.open(f"file://{tmp_path}/store")


def trigger(
    store: Datastore, folder: Path, deadline: float | None = None, api: int | None = None
) -> AttemptTrigger:
    """One whose cluster answers at the port *api*, or is nowhere."""
    config = folder / "nowhere.kubeconfig"
    if api is not None:
        config = folder / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(api)))
    cluster: dict[str, Any] = {
        "kubernetes_conn_id": None,
        "in_cluster": None,
        "config_file": str(config),
        "cluster_context": None,
        "namespace": "ml",
        "extras": {},
    }
    patience = {"schedule": 1.0, "pull": 1.0, "start": 1.0}
    try_of_task = "me", "attempt-1", TASK.model_dump(), 1
    return AttemptTrigger(cluster, patience, store.url, "attempt-1", [LEASE], *try_of_task, deadline)


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


class Silent(BaseHTTPRequestHandler):
    """An API server that logs nothing."""

    def answer(self, document: object) -> None:
        self.send_response(200)
        self.end_headers()
        if document is not None:
            self.wfile.write(json.dumps(document).encode())

    def log_message(self, *args: object) -> None:
        return


@contextmanager
def served(api: type[Silent]) -> Iterator[int]:
    """The port at which *api* answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def empty_cluster() -> Iterator[int]:
    """The port of an API server that knows of no pod."""

    class Api(Silent):
        def do_GET(self) -> None:
            self.send_error(404)

    with served(Api) as port:
        yield port


@pytest.fixture
def held(store: Datastore) -> Lease:
    """The lease of the attempt, left by a worker."""
    lease = Leases(store).take(LEASE, "me", "attempt-1")
    assert isinstance(lease, Lease)
    lease.leave()
    return lease


def event(watching: AttemptTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return (await anext(watching.run())).payload

    payload: dict[str, Any] = asyncio.run(asyncio.wait_for(first(), 60))
    return payload


def test_a_trigger_is_made_again_from_plain_json(store: Datastore, tmp_path: Path) -> None:
    path, fields = trigger(store, tmp_path, deadline=5.0).serialize()
    assert path == "airflow_mlpipe.triggers.attempt.AttemptTrigger"
    again = AttemptTrigger(**json.loads(json.dumps(fields)))
    assert again.serialize() == (path, fields)


def test_a_cluster_that_the_triggerer_cannot_reach_is_left_to_a_worker_who_is_told_why(
    store: Datastore, tmp_path: Path
) -> None:
    fired = event(trigger(store, tmp_path))
    assert fired["status"] == "unwatched"
    assert "nowhere.kubeconfig" in fired["message"]


def test_an_overdue_attempt_that_cannot_be_ended_here_is_named_for_a_worker_to_end(
    store: Datastore, tmp_path: Path, held: Lease
) -> None:
    fired = event(trigger(store, tmp_path, deadline=time.time()))
    assert fired == {"status": "overdue", "attempt": "attempt-1"}
    assert Leases(store).resumed(LEASE, "me", "attempt-1") is not None


def test_ending_gives_up_before_airflow_does_when_the_cluster_does_not_answer(
    store: Datastore, tmp_path: Path, held: Lease, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    given_by_airflow = conf.getint("triggerer", "on_kill_timeout", fallback=30)
    assert min(given_by_airflow, TRIGGER_SECONDS) > module.END_SECONDS
    monkeypatch.setattr(module, "END_SECONDS", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        ending = trigger(store, tmp_path, api=silent.getsockname()[1]).on_kill()
        asyncio.run(asyncio.wait_for(ending, 30))
    assert "may still be there, it could not be ended: TimeoutError" in caplog.text
    assert Leases(store).resumed(LEASE, "me", "attempt-1") is not None


@pytest.mark.parametrize(("of_try", "status"), [(1, "failed"), (2, "running")])
def test_a_deferred_step_that_is_ended_is_on_record_as_failed_and_a_later_try_is_not(
    store: Datastore, tmp_path: Path, held: Lease, empty_cluster: int, of_try: int, status: str
) -> None:
    records = RunRecords(store)
    records.write(_running(of_try))
    asyncio.run(trigger(store, tmp_path, api=empty_cluster).on_kill())
    record = records.read("d", "r", "t")
    assert record is not None
    assert (record.status, record.finished_at is None) == (status, status == "running")
    assert Leases(store).current(LEASE) is None


def test_an_end_that_airflow_asks_for_once_a_second_is_not_cut_short_by_that(
    store: Datastore, tmp_path: Path, held: Lease, empty_cluster: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(_: AttemptTrigger) -> tuple[str, ...]:
        await asyncio.sleep(0.5)
        return ("failed",)

    async def asked_for_again_and_again() -> None:
        ending = asyncio.create_task(trigger(store, tmp_path, api=empty_cluster).on_kill())
        while not ending.done():
            await asyncio.sleep(0.1)
            ending.cancel()

    monkeypatch.setattr(AttemptTrigger, "_states", slowly)
    records = RunRecords(store)
    records.write(_running(1))
    asyncio.run(asked_for_again_and_again())
    record = records.read("d", "r", "t")
    assert record is not None
    assert record.status == "failed"


@pytest.mark.parametrize(
    ("state", "status"),
    [("success", "marked"), ("skipped", "marked"), ("failed", "failed"), (None, "failed")],
)
@pytest.mark.parametrize("map_index", [-1, 3])
def test_a_deferred_step_that_was_marked_as_done_is_on_record_as_that(
    store: Datastore,
    tmp_path: Path,
    empty_cluster: int,
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    status: str,
    map_index: int,
) -> None:
    name = "t" if map_index < 0 else f"t_{map_index}"

    class ToldByAirflow:
        """What the triggerer's process says to those that ask."""

        def send(self, question: Any) -> Any:
            assert (question.dag_id, question.run_ids, question.task_ids) == ("d", ["r"], ["t"])
            assert question.map_index == map_index
            return SimpleNamespace(task_states={"r": {name: state}})

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", ToldByAirflow(), raising=False)
    records = RunRecords(store)
    records.write(_running(1).model_copy(update={"map_index": map_index}))
    watching = trigger(store, tmp_path, api=empty_cluster)
    watching.instance["map_index"] = map_index
    asyncio.run(watching.on_kill())
    record = records.read("d", "r", "t", map_index)
    assert record is not None
    assert record.status == status
    marked = "ran until somebody marked its task as done, so that its outputs are not sealed: "
    assert record.sentence().startswith(marked if status == "marked" else "ran and failed: ")


def test_the_copies_of_inputs_of_a_deferred_step_that_is_ended_are_removed(
    store: Datastore, tmp_path: Path, empty_cluster: int
) -> None:
    ours, other = f"{copies_key('attempt-1')}/raw/a.csv", f"{attempt_prefix('attempt-1')}/outputs/made"
    for key in (ours, other):
        store.write(key, b"1")
    asyncio.run(trigger(store, tmp_path, api=empty_cluster).on_kill())
    assert not store.exists(ours)
    assert store.exists(other)


def _running(try_number: int) -> RunRecord:
    return RunRecord(
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=-1,
        try_number=try_number,
        status="running",
        action="ran",
        reasons=(),
        fingerprint="ab" * 32,
        attempt="",
        sealed=False,
        compared_with=None,
        inputs={},
        snapshot=None,
        decided_at=1.0,
        finished_at=None,
        seconds=None,
        saved_seconds=None,
        store="",
    )


def test_the_lease_that_a_worker_left_is_renewed(store: Datastore, tmp_path: Path, held: Lease) -> None:
    watching = trigger(store, tmp_path)

    async def renewed() -> None:
        renewing = asyncio.create_task(watching._keep_lease(LEASE))
        deadline = time.monotonic() + 30
        while (current := Leases(store).current(LEASE)) is not None and not current.document.renewals:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        renewing.cancel()

    asyncio.run(renewed())
    current = Leases(store).current(LEASE)
    assert current is not None
    assert (current.owner, current.token) == ("me", held.record.token)


@pytest.fixture
def printing_cluster(store: Datastore) -> Iterator[int]:
    """The port of an API server on which every pod runs.

    It prints a line, another one when it is kept that the first was shown, and then nothing more.
    """
    over, bookmark = threading.Event(), Bookmark(store, "attempt-1", "attempt-1")

    class Api(Silent):
        def do_GET(self) -> None:
            if "/log?" not in self.path:
                self.answer(RUNNING)
                return
            self.answer(None)
            self.wfile.write(b"2026-11-22T08:00:00.5Z line 0\n")
            while bookmark.read() == LogPosition() and not over.wait(0.01):
                pass
            self.wfile.write(b"2026-11-22T08:00:01.5Z line 1\n")
            over.wait(60)

    with served(Api) as port:
        yield port
        over.set()


def test_a_triggerer_that_stops_leaves_where_the_log_goes_on_however_busy_it_is_and_often_it_cancels(
    store: Datastore, tmp_path: Path, printing_cluster: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOOKMARK_SECONDS", math.inf)  # only the first part is kept at once
    shown, may_go_on = asyncio.Event(), threading.Event()
    monkeypatch.setattr(module.step_log, "info", lambda _, line: line == "line 1" and shown.set())

    async def watched_and_stopped() -> None:
        watching = asyncio.create_task(anext(trigger(store, tmp_path, api=printing_cluster).run()))
        await asyncio.wait_for(shown.wait(), 60)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(busy := ThreadPoolExecutor(1))
        busy.submit(may_go_on.wait, 60)
        loop.call_later(0.3, may_go_on.set)
        while not watching.done():
            watching.cancel()
            await asyncio.sleep(0.05)

    asyncio.run(watched_and_stopped())
    assert Bookmark(store, "attempt-1", "attempt-1").read() == LogPosition(
        1795334401, 1, 1795334401_500000000
    )


class RunningPod:
    """A pod that runs until it is deleted, and the *port* of its API server."""

    def __init__(self) -> None:
        self.asked, self.deleted, self.port = threading.Event(), threading.Event(), 0


@pytest.fixture
def running_pod() -> Iterator[RunningPod]:
    pod = RunningPod()

    class Api(Silent):
        def do_GET(self) -> None:
            pod.asked.set()
            if "/log?" not in self.path:
                self.answer(RUNNING)
                return
            self.answer(None)
            pod.deleted.wait(20)

        def do_DELETE(self) -> None:
            pod.deleted.set()
            self.answer({})

    with served(Api) as pod.port:
        yield pod
        pod.deleted.set()


class Triggerer(TriggerRunner):
    """The part of Airflow's triggerer that runs and cancels one trigger."""

    def __init__(self, trigger: AttemptTrigger) -> None:
        self.triggers, self.to_cancel, self.events = {}, deque(), deque()
        trigger.task_instance = None  # type: ignore[assignment]
        details: Any = {"task": None, "is_watcher": False, "name": "t", "events": 0}
        self.triggers[1] = details
        self.running = details["task"] = asyncio.create_task(self.run_trigger(1, trigger))

    async def user_acts(self) -> None:
        """What it does when the trigger is not its own any more, for whatever reason."""
        self.to_cancel.append(1)
        await self.cancel_triggers()


def airflow_says(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setattr(module, "_states_of", lambda _: [state])


@pytest.mark.parametrize(("state", "is_ended"), [("deferred", False), ("failed", True)])
def test_the_pod_of_a_task_that_another_triggerer_was_given_is_left_alone(
    store: Datastore,
    tmp_path: Path,
    held: Lease,
    running_pod: RunningPod,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    is_ended: bool,
) -> None:
    airflow_says(monkeypatch, state)

    async def watched_and_cancelled() -> None:
        triggerer = Triggerer(trigger(store, tmp_path, api=running_pod.port))
        await asyncio.to_thread(running_pod.asked.wait, 30)
        await triggerer.user_acts()
        await asyncio.wait({triggerer.running}, timeout=30)

    asyncio.run(watched_and_cancelled())
    assert running_pod.deleted.is_set() == is_ended
    assert (Leases(store).current(LEASE) is None) == is_ended


def test_a_triggerer_that_stops_while_it_ends_a_pod_ends_it_before(
    store: Datastore, tmp_path: Path, held: Lease, running_pod: RunningPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_says(monkeypatch, "failed")
    begun, delete = asyncio.Event(), AsyncCluster.delete

    async def slowly(self: AsyncCluster, sighting: Sighting) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        await delete(self, sighting)

    monkeypatch.setattr(AsyncCluster, "delete", slowly)

    async def ending() -> None:
        triggerer = Triggerer(trigger(store, tmp_path, api=running_pod.port))
        await asyncio.to_thread(running_pod.asked.wait, 30)
        await triggerer.user_acts()
        await asyncio.wait_for(begun.wait(), 30)  # asyncio.run cancels all tasks when this one is over

    asyncio.run(ending())
    assert running_pod.deleted.is_set()
    assert Leases(store).current(LEASE) is None


def test_the_first_of_several_cancellations_says_why() -> None:
    async def cancelled_twice() -> BaseException:
        work = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(finished(work))
        for why in ("somebody acted", "the triggerer stops"):
            await asyncio.sleep(0)
            waiting.cancel(why)
        await asyncio.sleep(0)
        work.set_result(None)
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        return caught.value

    assert asyncio.run(cancelled_twice()).args == ("somebody acted",)


def test_a_pod_that_somebody_else_goes_on_with_is_not_deleted(
    store: Datastore, tmp_path: Path, running_pod: RunningPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_says(monkeypatch, "failed")
    lapsed = Leases(store, duration=0.01).take(LEASE, "me", "attempt-1")
    assert isinstance(lapsed, Lease)
    lapsed.leave()
    time.sleep(0.1)
    other = Leases(store).take(LEASE, "somebody else", "attempt-2")
    assert isinstance(other, Lease)
    assert "attempt-1" in other.previous_attempts(announced=True)
    asyncio.run(trigger(store, tmp_path, api=running_pod.port).on_kill())
    assert not running_pod.deleted.is_set()
