"""Leases and seals together: several workers with clocks of their own, a store that fails, kills anywhere.

A worker of this model does with leases and seals what a step does, and may be interrupted wherever its code
says ``yield``, and before and after every call of the store. What it has started outlives it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.folder import Folder
from airflow_mlpipe.store.layout import lease_key, manifest_key, output_key
from airflow_mlpipe.store.lease import Lease, LeaseRecord, Leases
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.manifest import (
    Manifest,
    ManifestOutput,
    ManifestUnusable,
    Producer,
    parse_manifest,
)
from airflow_mlpipe.store.remote_folder import RemoteFolder
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.verification import verify
from tests.services import ObjectStore
from tests.unit.store.faulty import ClockedFolder, caused_by

FINGERPRINT = "ab" * 32
DURATION = 60.0
MINUTES = 600.0
DATA = b"weights"

OWNERS = ("anna", "ben", "cleo", "dan", "eve")


class Killed(BaseException):
    """The worker is gone, as by SIGKILL: nothing of it runs any more, not even what cleans up."""


@dataclass
class Trouble:
    """What happens at the *countdown*-th call of the store from now on, before or *late* after its effect."""

    kind: Literal["none", "passing", "outage", "full", "kill"] = "none"
    countdown: int = 0
    late: bool = False

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        if self.kind == "none" or after != self.late:
            return
        self.countdown -= 1
        if self.countdown == 0 or (self.countdown < 0 and self.kind == "outage"):
            if self.kind == "kill":
                raise Killed
            code = errno.ENOSPC if self.kind == "full" else errno.ETIMEDOUT
            raise caused_by(OSError(code, os.strerror(code)), verb, key)


troubles = (
    st.just(Trouble())
    | st.just(Trouble())
    | st.builds(
        Trouble,
        st.sampled_from(["passing", "outage", "full", "kill"]),
        countdown=st.integers(1, 20),
        late=st.booleans(),
    )
)


@dataclass
class Worker:
    """One try of a task instance; *skew* is by how much its clock is wrong."""

    owner: str
    attempt: str
    skew: float
    refresh: bool
    lease: Lease | None = None
    renewed_at: float = 0.0


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.trouble = Trouble()
        self.workers: dict[str, tuple[Worker, Generator[None, None, None]]] = {}
        self.attempts: dict[str, Literal["running", "finished", "lost"]] = {}
        self.reachable: set[str] = set()  # attempts that the stored lease leads to
        self.announced: set[str] = set()  # attempts whose sealing was begun
        self.damaged: set[str] = set()  # attempts whose outputs somebody has spoilt
        self.sealed: set[str] = set()  # attempts that were sealed at some time
        self.is_known = False  # whether a task has noted that it had outputs of this fingerprint
        self.folder = tempfile.TemporaryDirectory()
        self.open_store(local=True, owners=2)

    @initialize(local=st.booleans(), owners=st.integers(2, 5))
    def open_store(self, local: bool, owners: int) -> None:
        self.owners = OWNERS[:owners]
        self.place = self.new_place(local)
        self.store = Datastore(
            ClockedFolder(self.place, lambda: self.now, self._fault), pause=lambda seconds: None
        )

    def new_place(self, local: bool) -> Folder:
        return (
            LocalFolder(Path(self.folder.name)) if local else RemoteFolder(f"memory://{uuid.uuid4().hex}", {})
        )

    def teardown(self) -> None:
        self.when_everybody_died_somebody_gets_on(skew=MINUTES)
        self.folder.cleanup()

    # -- what happens ----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.workers) < len(self.owners))
    @rule(
        data=st.data(),
        skew=st.sampled_from([-MINUTES, 0.0, MINUTES]),
        refresh=st.sampled_from([False, False, True]),
    )
    def a_try_begins(self, data: st.DataObject, skew: float, refresh: bool) -> None:
        owner = data.draw(st.sampled_from([owner for owner in self.owners if owner not in self.workers]))
        worker = Worker(owner, f"{owner}-{uuid.uuid4().hex}", skew, refresh)
        self.workers[owner] = worker, self._step(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), states=st.integers(1, 8), trouble=troubles)
    def a_worker_goes_on(self, data: st.DataObject, states: int, trouble: Trouble) -> None:
        owner = data.draw(st.sampled_from(sorted(self.workers)))
        failure = None
        self.trouble = replace(trouble)
        try:
            for _ in range(states):
                next(self.workers[owner][1])
        except StopIteration:
            del self.workers[owner]
        except (StoreError, Killed, ManifestUnusable) as error:
            failure = error
            del self.workers[owner]
        self.trouble = Trouble()
        assert not (isinstance(failure, StoreError) and trouble.kind == "passing"), "it would have passed"

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def a_worker_is_killed(self, data: st.DataObject) -> None:
        del self.workers[data.draw(st.sampled_from(sorted(self.workers)))]

    @rule(seconds=st.sampled_from([1.0, 20.0, DURATION]), renewing=st.booleans(), trouble=troubles)
    def time_passes(self, seconds: float, renewing: bool, trouble: Trouble) -> None:
        """Workers renew their leases meanwhile, unless they or the store are stuck."""
        self.now += seconds
        if not renewing:
            return
        for worker, _ in list(self.workers.values()):
            self.trouble = replace(trouble)
            self._renew(worker)
            self.trouble = Trouble()

    @precondition(lambda self: "running" in self.attempts.values())
    @rule(data=st.data(), end=st.sampled_from(["finished", "finished", "lost"]))
    def a_script_ends(self, data: st.DataObject, end: Literal["finished", "lost"]) -> None:
        running = sorted(name for name, state in self.attempts.items() if state == "running")
        self.attempts[data.draw(st.sampled_from(running))] = end

    @precondition(lambda self: self._stored_manifest() is not None)
    @rule(how=st.sampled_from(["output gone", "output changed", "manifest cut", "manifest gone"]))
    def what_is_sealed_is_damaged(self, how: str) -> None:
        manifest = self._stored_manifest()
        assert manifest is not None
        if how == "manifest gone" and self.is_known:
            self.place.delete(manifest_key(FINGERPRINT))
            return
        if how == "manifest cut":
            self.place.write(manifest_key(FINGERPRINT), manifest.to_bytes()[:100])
            return
        self.damaged.add(manifest.producer.attempt)
        key = manifest.outputs["model"].key
        self.place.delete(key)
        if how == "output changed":
            self.place.write(key, DATA[::-1])

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def what_was_uploaded_is_gone_before_it_is_sealed(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.attempts)))
        if attempt != self._sealed_attempt():
            self.place.delete(output_key(attempt, "model"))

    def when_everybody_died_somebody_gets_on(self, skew: float) -> None:
        self.workers.clear()
        self.now += DURATION
        for attempt, state in self.attempts.items():
            self.attempts[attempt] = "finished" if state == "running" else state
        worker = Worker("fay", f"fay-{uuid.uuid4().hex}", skew, refresh=False)
        for _ in self._step(worker):
            if self.attempts.get(worker.attempt) == "running":
                self.attempts[worker.attempt] = "finished"
        manifest = self._stored_manifest()
        assert manifest is not None
        assert verify(self.store, manifest, "digest") == ()

    # -- what must hold --------------------------------------------------------------------------------

    @invariant()
    def a_manifest_that_can_be_read_has_whole_outputs(self) -> None:
        manifest = self._stored_manifest()
        if manifest is not None and manifest.producer.attempt not in self.damaged:
            assert verify(self.store, manifest, "digest") == ()

    # -- what a worker does ----------------------------------------------------------------------------

    def _step(self, worker: Worker) -> Generator[None, None, None]:
        """As StepOperator.poke, which is called again while somebody else holds the lease."""
        # Not closed when a worker is killed, only forgotten: hence no "with lease", which would release it.
        while True:
            if self._look(worker)[0] and not worker.refresh:
                return
            yield
            taken = self._leases(worker).take(FINGERPRINT, worker.owner, worker.attempt)
            if isinstance(taken, Lease):
                break
            yield
        worker.lease, worker.renewed_at = taken, self.now
        assert self._believers() in ([], [worker]), "a lease was taken that somebody holds"
        yield
        found, seen = self._look(worker)
        if not found or worker.refresh:
            is_new = not (worker.refresh or seen or self.is_known)
            previous = taken.previous_attempts(announced=is_new)
            attempt = self._adopted(worker, previous) or self._launched(worker, taken)
            while self.attempts[attempt] == "running":
                yield
            if self.attempts[attempt] == "finished":
                manifest = self._uploaded(attempt, worker)
                yield
                self.announced.add(attempt)
                taken.announce_seal(attempt)
                yield
                self._seal(manifest, seen if worker.refresh or seen else None)
                yield
        self.is_known = True
        taken.release()

    def _look(self, worker: Worker) -> tuple[bool, str]:
        """Whether usable outputs are there, and the digest of the manifest."""
        data = self.store.read(manifest_key(FINGERPRINT))
        seen = "" if data is None else hashlib.sha256(data).hexdigest()
        try:
            manifest = None if data is None else parse_manifest(data, FINGERPRINT)
        except ManifestUnusable:
            return False, seen
        return manifest is not None and not verify(self.store, manifest, "digest"), seen

    def _adopted(self, worker: Worker, previous: Sequence[str]) -> str | None:
        adopted = next((name for name in previous if self._is_adoptable(worker, name)), None)
        assert adopted not in self.sealed, "what was sealed and found wanting is sealed once more"
        return adopted

    def _is_adoptable(self, worker: Worker, attempt: str) -> bool:
        """Refreshing is to make new outputs, not to take those that another task instance has made before."""
        state = self.attempts.get(attempt, "lost")
        return state == "running" or (
            state == "finished" and not (worker.refresh and not _is_of(worker, attempt))
        )

    def _launched(self, worker: Worker, lease: Lease) -> str:
        stored = self._stored_lease()
        holds = stored is not None and stored.token == lease.record.token
        # Only who was stuck for longer than its lease may run beside somebody else.
        assert holds or self.now - worker.renewed_at >= DURATION
        if holds:
            orphans = {name for name in self.reachable if self._is_adoptable(worker, name)} - self.announced
            assert not orphans, "what an orphan has done, or does, is done again"
            self.reachable.add(worker.attempt)
        self.attempts[worker.attempt] = "running"
        return worker.attempt

    def _uploaded(self, attempt: str, worker: Worker) -> Manifest:
        key = output_key(attempt, "model")
        if self._sealed_attempt() != attempt:
            self.store.delete_tree(key)
            self.store.write(key, DATA)
            self.damaged.discard(attempt)
        content = Content("file", hashlib.sha256(DATA).hexdigest(), len(DATA))
        output = ManifestOutput.of("model", key, content)
        return _manifest(output, attempt, worker, at=self.now + worker.skew)

    def _seal(self, manifest: Manifest, replaces: str | None) -> None:
        before, ours = self._stored(), manifest.to_bytes()
        gives_way = before is None or hashlib.sha256(before).hexdigest() == replaces
        try:
            winner = seal(self.store, manifest, replaces=replaces)
        except (StoreError, Killed):
            assert self._stored() in ([before, ours] if gives_way else [before])
            if self._stored() == ours:
                self.sealed.add(manifest.producer.attempt)
            raise
        except ManifestUnusable:
            assert not gives_way
            assert self._stored() == before
            raise
        assert self._stored() == winner.to_bytes() == (ours if gives_way else before)
        self.sealed.add(winner.producer.attempt)

    def _renew(self, worker: Worker) -> None:
        if worker.lease is None:
            return
        stored = self._stored_lease()
        ours = stored is not None and stored.token == worker.lease.record.token
        try:
            held = worker.lease.renew()
        except Killed:
            self.workers.pop(worker.owner)
            return
        if held and ours and self._stored_lease() != stored:
            worker.renewed_at = self.now
        has_lapsed = self.now - worker.renewed_at >= DURATION
        assert held or not ours or has_lapsed, "it was given up too early"
        assert ours or not held or not has_lapsed, "it is held although somebody else has it"

    # -- helpers that see the store as it is, without trouble ------------------------------------------

    def _believers(self) -> list[Worker]:
        """The workers that hold a lease as far as they can know."""
        holders = [worker for worker, _ in self.workers.values() if worker.lease is not None]
        return [worker for worker in holders if self.now - worker.renewed_at < DURATION]

    def _fault(self, verb: str, key: str, *, after: bool) -> None:
        self.trouble(verb, key, after=after)

    def _leases(self, worker: Worker) -> Leases:
        return Leases(
            self.store, duration=DURATION, clock=lambda: self.now + worker.skew, stopwatch=lambda: self.now
        )

    def _stored(self) -> bytes | None:
        return self.place.read(manifest_key(FINGERPRINT))

    def _stored_manifest(self) -> Manifest | None:
        data = self._stored()
        try:
            return None if data is None else parse_manifest(data, FINGERPRINT)
        except ManifestUnusable:
            return None

    def _sealed_attempt(self) -> str | None:
        manifest = self._stored_manifest()
        return None if manifest is None else manifest.producer.attempt

    def _stored_lease(self) -> LeaseRecord | None:
        raw = self.place.read(lease_key(FINGERPRINT))
        return None if raw is None else LeaseRecord.parse(raw)


def _is_of(worker: Worker, attempt: str) -> bool:
    return attempt.startswith(f"{worker.owner}-")


def _manifest(output: ManifestOutput, attempt: str, worker: Worker, *, at: float) -> Manifest:
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
            run_id=worker.owner,
            task_id="task",
            map_index=-1,
            try_number=1,
            attempt=attempt,
            experiment="dag",
            host="host",
        ),
        started_at=at,
        finished_at=at,
        sealed_at=at,
        snapshot=None,
        provider_version="1.0.0",
    )


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_real_object_store_serves_the_protocol_as_well(s3: ObjectStore) -> None:
    class OnS3(Protocol):
        def new_place(self, local: bool) -> Folder:
            return RemoteFolder(f"{s3.url}/{uuid.uuid4().hex}", dict(s3.options))

    few = settings(max_examples=4, stateful_step_count=20, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(OnS3, settings=few)
