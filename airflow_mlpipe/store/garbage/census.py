"""What lies in a datastore and what it names, as the collection of garbage has to know it.

Documents are read, data is only listed. What cannot be read may have been written by a later version of this
package, so that everything which it seems to name counts as named.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from sys import intern
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.layout import (
    ATTEMPTS,
    DATASETS,
    JOURNALS,
    MODEL_FILES,
    MODELS,
    RUNS,
    SNAPSHOTS,
    steps_prefix,
)
from airflow_mlpipe.store.lease import LeaseRecord
from airflow_mlpipe.store.run_record import RunRecord

Task = tuple[str, str, int]  # DAG, task and map index
Run = tuple[str, str]  # DAG and run

# Object stores answer in milliseconds, each.
_READERS = 8
_AHEAD = 64
_SIGNS_OF_LIFE = ("heartbeat", "result.json", "log.txt", "metrics.jsonl", "spec.json")
_ATTEMPT = re.compile(rb"attempts/([A-Za-z0-9_][A-Za-z0-9._-]*)|\"attempt\" *: *\"([^\"]+)\"")
_MODEL = re.compile(rb"model-files/([A-Za-z0-9_][A-Za-z0-9._-]*/[0-9a-f]{32})/")
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Sealed:
    """Outputs that have a manifest.

    *step* is the task instance that made them. *attempts* hold the data. *state* is the SHA-256 of the
    manifest's bytes, by which it is recognised when it is to be deleted.
    """

    fingerprint: str
    step: str
    task: Task
    sealed_at: float
    attempts: tuple[str, ...]
    snapshot: str | None
    state: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """A lease as it was found. *age*, in seconds, is None when the store tells no times."""

    record: LeaseRecord
    age: float | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt has in the store: bytes, and the files, relative to it, whose age tells of work on it.

    One that is *open* was launched and has no result. On a remote store none is: the records of an attempt
    are not there.
    """

    size: int
    signs: tuple[str, ...]
    open: bool


@dataclass(slots=True)
class Census:
    """The things of a store, by fingerprint, attempt or digest.

    *unreadable* are manifests, with the attempts that they seem to name. Of *recipes*, *invalidations* and
    *snapshots* the sizes are known. *in_journals* are the fingerprints that a next explanation may compare
    with. *registered* are the attempts of registered datasets, and the *models* that have a version; of
    *model_files* the bytes and a file whose age is theirs are known. Names are interned, since they occur in
    several places.
    """

    sealed: dict[str, Sealed] = field(default_factory=dict)
    unreadable: dict[str, frozenset[str]] = field(default_factory=dict)
    leases: dict[str, Standing] = field(default_factory=dict)
    recipes: dict[str, int] = field(default_factory=dict)
    invalidations: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    in_journals: set[str] = field(default_factory=set)
    registered: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    model_files: dict[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def take(cls, datastore: Datastore) -> Census:
        """Read every manifest, lease, journal and registered version of *datastore*, and list the rest.

        Raises StoreError.
        """
        census = cls()
        for digits in (f"{number:02x}" for number in range(256)):
            census._read_steps(datastore, digits)
        for name, files in itertools.groupby(
            datastore.files(ATTEMPTS), key=lambda file: _part(file, ATTEMPTS)
        ):
            census.attempts[intern(name)] = _attempt(name, files)
        for file in datastore.files(SNAPSHOTS):
            census.snapshots[_part(file, SNAPSHOTS).removesuffix(".tar.gz")] = file.size
        for _, data in read_all(datastore, (file.key for file in datastore.files(JOURNALS))):
            census.in_journals |= digests_in(data)
        # The files first: a version that is registered meanwhile has its files before its record.
        for name, files in itertools.groupby(datastore.files(MODEL_FILES), key=_model_of):
            *_, last = sized = [(file.size, file.key) for file in files]
            census.model_files[name] = sum(size for size, _ in sized), last[1]
        for _, data in read_all(datastore, (file.key for file in datastore.files(DATASETS))):
            census.registered |= attempts_in(data)
        census.models = registered_models(datastore)
        return census

    def size_of(self, attempt: str) -> int:
        """The bytes of an attempt, 0 for one that is not there."""
        return self.attempts[attempt].size if attempt in self.attempts else 0

    def _read_steps(self, datastore: Datastore, digits: str) -> None:
        manifests = []
        for file in datastore.files(steps_prefix(digits)):
            fingerprint, _, name = file.key.removeprefix(f"{steps_prefix(digits)}/").partition("/")
            if name == "manifest.json":
                manifests.append(file.key)
            elif name == "lease.json":
                self._read_lease(datastore, fingerprint, file.key)
            elif name == "recipe.json":
                self.recipes[intern(fingerprint)] = file.size
            elif name == "invalidated.json":
                self.invalidations[intern(fingerprint)] = file.size
        for key, data in read_all(datastore, manifests):
            fingerprint = intern(key.split("/")[-2])
            if (sealed := _sealed(fingerprint, data)) is not None:
                self.sealed[fingerprint] = sealed
            else:
                self.unreadable[fingerprint] = attempts_in(data)

    def _read_lease(self, datastore: Datastore, fingerprint: str, key: str) -> None:
        if (raw := datastore.read(key)) is not None:
            self.leases[fingerprint] = Standing(LeaseRecord.parse(raw), datastore.age(key))


@dataclass(slots=True)
class Use:
    """The use of one fingerprint: when it was last (seconds since the epoch), and by which tasks.

    *state* changes with every record that speaks of the fingerprint, whatever the clocks of workers say.
    """

    last: float = 0.0
    tasks: tuple[Task, ...] = ()
    state: int = 0


@dataclass(frozen=True, slots=True)
class OldRecord:
    """A run record that was not written to for long; *size* is in bytes, *last_used* since the epoch."""

    key: str
    size: int
    step: str
    fingerprint: str
    last_used: float


@dataclass(slots=True)
class Uses:
    """What the run records say of fingerprints, attempts and snapshots.

    *attempts* tells when their outputs were last handed on, *made* which fingerprint they made. *held* and
    *held_attempts* are those that runs which are not over have used, and that unreadable records name.
    *named* are fingerprints, besides those that are used, which an explanation may look up.
    """

    fingerprints: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    attempts: dict[str, float] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    snapshots: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    held_attempts: set[str] = field(default_factory=set)
    old: list[OldRecord] = field(default_factory=list)

    @classmethod
    def read(
        cls,
        datastore: Datastore,
        *,
        live_runs: Iterable[Run],
        in_work: Iterable[str],
        old_before: float | None = None,
    ) -> Uses:
        """Read every run record of *datastore*. Raises StoreError.

        *live_runs* are the runs that are not over, *in_work* the fingerprints that somebody has a lease on.
        Only records last used before *old_before* are listed as old.
        """
        uses, live, working = cls(), frozenset(live_runs), frozenset(in_work)
        for key, data in read_all(datastore, (file.key for file in datastore.files(RUNS))):
            try:
                record = RunRecord.model_validate_json(data)
            except ValidationError:
                uses._hold(data)
                continue
            held = (record.dag_id, record.run_id) in live or record.fingerprint in working
            uses._count(key, data, record, held)
            if not held and old_before is not None and record.last_used < old_before:
                uses.old.append(_old(key, data, record))
        return uses

    def _hold(self, unreadable: bytes) -> None:
        digests = digests_in(unreadable)
        self.named |= digests
        self.snapshots |= digests
        self.held |= digests
        self.held_attempts |= attempts_in(unreadable)

    def _count(self, key: str, data: bytes, record: RunRecord, held: bool) -> None:
        inputs = {origin.fingerprint for origins in record.inputs.values() for origin in origins}
        for fingerprint in {record.fingerprint, *inputs}:
            use = self.fingerprints[intern(fingerprint)]
            use.last = max(use.last, record.last_used)
            use.state += hash((key, data))
        use, task = self.fingerprints[record.fingerprint], _task(record)
        if task not in use.tasks:
            use.tasks = (*use.tasks, task)
        if record.compared_with:
            self.named.add(intern(record.compared_with))
        if record.snapshot:
            self.snapshots.add(intern(record.snapshot))
        if record.attempt:
            attempt = intern(record.attempt)
            self.attempts[attempt] = max(record.last_used, self.attempts.get(attempt, 0.0))
            self.made[attempt] = intern(record.fingerprint)
        if held:
            self.held |= {record.fingerprint, *inputs}
            self.held_attempts |= {*filter(None, [record.attempt])}


def read_all(datastore: Datastore, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Every key that is there with its bytes, in order, read a few at a time. Raises StoreError."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="census") as pool:
        pending: deque[tuple[str, Future[bytes | None]]] = deque()
        for key in keys:
            pending.append((key, pool.submit(datastore.read, key)))
            if len(pending) >= _AHEAD:
                yield from _arrived(*pending.popleft())
        for key, future in pending:
            yield from _arrived(key, future)


def registered_models(datastore: Datastore) -> set[str]:
    """The folders of model files that versions in *datastore* have; raises StoreError."""
    records = read_all(datastore, (file.key for file in datastore.files(MODELS)))
    return {name.decode() for _, data in records for name in _MODEL.findall(data)}


def attempts_in(data: bytes) -> frozenset[str]:
    """The ids of attempts that *data* seems to name, whatever document it is."""
    return frozenset((by_key or by_field).decode() for by_key, by_field in _ATTEMPT.findall(data))


def digests_in(data: bytes) -> frozenset[str]:
    """The SHA-256 digests, fingerprints among them, that *data* seems to name."""
    return frozenset(digest.decode() for digest in _DIGEST.findall(data))


class _Facts(BaseModel):
    """What a census keeps of a document; the rest of it is not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Output(_Facts):
    key: str


class _Producer(_Facts):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    attempt: str


class _Manifest(_Facts):
    schema_version: Literal[1]
    fingerprint: str
    outputs: dict[str, _Output]
    producer: _Producer
    sealed_at: float
    snapshot: str | None


def _task(of: RunRecord | _Producer) -> Task:
    return intern(of.dag_id), intern(of.task_id), of.map_index


def _sealed(fingerprint: str, data: bytes) -> Sealed | None:
    try:
        manifest = _Manifest.model_validate_json(data)
    except ValidationError:
        return None
    if manifest.fingerprint != fingerprint:
        return None
    made_by = manifest.producer
    instance = ProducerReference(
        dag_id=made_by.dag_id, run_id=made_by.run_id, task_id=made_by.task_id, map_index=made_by.map_index
    )
    keys = " ".join(output.key for output in manifest.outputs.values())
    return Sealed(
        fingerprint=fingerprint,
        step=str(instance),
        task=_task(made_by),
        sealed_at=manifest.sealed_at,
        attempts=tuple(map(intern, attempts_in(keys.encode()) | {made_by.attempt})),
        snapshot=manifest.snapshot and intern(manifest.snapshot),
        state=hashlib.sha256(data).digest(),
    )


def _attempt(name: str, files: Iterable[StoredFile]) -> Attempt:
    size, first, last, signs = 0, "", "", set()
    for file in files:
        size += file.size
        last = file.key.removeprefix(f"{ATTEMPTS}/{name}/")
        first = first or last
        if last in _SIGNS_OF_LIFE:
            signs.add(last)
    if "result.json" in signs:  # written last
        return Attempt(size, ("result.json",), open=False)
    if signs:
        return Attempt(size, tuple(sign for sign in _SIGNS_OF_LIFE if sign in signs), "spec.json" in signs)
    # A remote store has the data only.
    return Attempt(size, tuple(dict.fromkeys([first, last])), open=False)


def _old(key: str, data: bytes, record: RunRecord) -> OldRecord:
    return OldRecord(key, len(data), record.step, intern(record.fingerprint), record.last_used)


def _model_of(file: StoredFile) -> str:
    """The folder of a model's version, below that of all."""
    return "/".join(file.key.removeprefix(f"{MODEL_FILES}/").split("/")[:2])


def _part(file: StoredFile, prefix: str) -> str:
    """The first part of the key of *file* below *prefix*."""
    return file.key.removeprefix(f"{prefix}/").partition("/")[0]


def _arrived(key: str, future: Future[bytes | None]) -> Iterator[tuple[str, bytes]]:
    if (data := future.result()) is not None:
        yield key, data
