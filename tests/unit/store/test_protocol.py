"""Leases and seals together: several owners, expiry, and a crash at any point."""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.store.manifest import (
    Manifest,
    ManifestMissing,
    ManifestOutput,
    Producer,
    read_manifest,
)
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.verification import verify

FINGERPRINT = "ab" * 32
DURATION = 60.0
owners = st.sampled_from(["anna", "ben", "cleo"])


@dataclass
class Worker:
    """A process: what it holds in memory, and loses in a crash."""

    lease: Lease
    attempt: str
    started_at: float
    manifest: Manifest | None = None


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.workers: dict[str, Worker] = {}
        self.winner: Manifest | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    @initialize(local=st.booleans())
    def open_store(self, local: bool) -> None:
        if local:
            self.folder = tempfile.TemporaryDirectory()
        url = self.folder.name if self.folder else f"memory://{uuid.uuid4().hex}"
        self.datastore = Datastore.open(url)
        self.leases = Leases(self.datastore, duration=DURATION, clock=lambda: self.now)

    def teardown(self) -> None:
        if self.folder:
            self.folder.cleanup()

    @rule(seconds=st.sampled_from([1.0, 30.0, DURATION]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(owner=owners)
    def acquire(self, owner: str) -> None:
        held = self.leases.current(FINGERPRINT)
        attempt = f"{owner}-{uuid.uuid4().hex}"
        lease = self.leases.acquire(FINGERPRINT, owner, attempt)
        assert (lease is None) == (held is not None)
        if lease is not None:
            self.workers[owner] = Worker(lease, attempt, self.now)

    @rule(owner=owners)
    def take_over_if_expired(self, owner: str) -> None:
        previous = self.leases.current(FINGERPRINT)
        if previous is None or not previous.expired(self.now):
            return
        attempt = f"{owner}-{uuid.uuid4().hex}"
        lease = self.leases.take_over(FINGERPRINT, previous, owner, attempt)
        assert lease is not None
        assert self.leases.take_over(FINGERPRINT, previous, owner, attempt) is None
        self.workers[owner] = Worker(lease, attempt, self.now)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), finished=st.booleans())
    def work(self, data: st.DataObject, finished: bool) -> None:
        worker = self._any_worker(data)
        if self.winner is not None and self.winner.producer.attempt == worker.attempt:
            return  # a step has ended before it is sealed, and writes no more
        key = output_key(worker.attempt, "model")
        self.datastore.write(key, b"weights" if finished else b"wei")
        digest = self.datastore.digest(key)
        assert digest is not None
        # A worker that believes in unfinished outputs must not be able to seal them.
        output = ManifestOutput.of("model", key, Content("file", digest, len(b"weights")))
        worker.manifest = self._manifest(worker, output)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), replace=st.booleans())
    def seal(self, data: st.DataObject, replace: bool) -> None:
        worker = self._any_worker(data)
        if worker.manifest is None:
            return
        manifest = worker.manifest.model_copy(update={"sealed_at": self.now})
        complete = not verify(self.datastore, manifest, "size")
        before = self.winner
        try:
            sealed = seal(self.datastore, manifest, replace=replace)
        except StoreError:
            assert not complete
            return
        assert complete
        yielded = before is not None and (not replace or before.sealed_at > worker.started_at)
        assert sealed == (before if yielded else manifest)
        self.winner = sealed

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        worker = self._any_worker(data)
        current = self.leases.current(FINGERPRINT)
        ours = current is not None and current.token == worker.lease.record.token
        assert worker.lease.renew() == ours

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        worker = self._any_worker(data)
        before = self.leases.current(FINGERPRINT)
        worker.lease.release()
        ours = before is not None and before.token == worker.lease.record.token
        assert self.leases.current(FINGERPRINT) == (None if ours else before)
        assert not worker.lease.renew()

    @precondition(lambda self: self.workers)
    @rule(owner=owners)
    def crash(self, owner: str) -> None:
        self.workers.pop(owner, None)

    @invariant()
    def at_most_one_worker_holds_the_lease(self) -> None:
        if not self.workers:
            return
        current = self.leases.current(FINGERPRINT)
        tokens = [worker.lease.record.token for worker in self.workers.values()]
        assert sum(current is not None and token == current.token for token in tokens) <= 1

    @invariant()
    def the_winner_stays_and_its_outputs_are_whole(self) -> None:
        if not hasattr(self, "datastore"):
            return
        try:
            manifest: Manifest | None = read_manifest(self.datastore, FINGERPRINT)
        except ManifestMissing:
            manifest = None
        assert manifest == self.winner
        if manifest is not None:
            assert verify(self.datastore, manifest, "digest") == ()

    def _any_worker(self, data: st.DataObject) -> Worker:
        return self.workers[data.draw(st.sampled_from(sorted(self.workers)))]

    def _manifest(self, worker: Worker, output: ManifestOutput) -> Manifest:
        owner = worker.lease.record.owner
        return Manifest(
            schema_version=1,
            fingerprint=FINGERPRINT,
            recipe={},
            outputs={"model": output},
            results={},
            parent_metrics={},
            tags={},
            producer=Producer(
                dag_id="dag",
                run_id="run",
                task_id="task",
                map_index=-1,
                try_number=1,
                attempt=worker.attempt,
                experiment="dag",
                host=owner,
            ),
            started_at=worker.started_at,
            finished_at=self.now,
            sealed_at=self.now,
            snapshot=None,
            provider_version="1.0.0",
        )


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
