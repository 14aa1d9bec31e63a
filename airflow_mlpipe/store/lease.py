"""Who is producing a fingerprint: single flight, by a document that lapses unless it is renewed.

Machines need not agree on the time. Whether a lease has lapsed is judged by how long ago it was written by
the clock of the store (:meth:`~airflow_mlpipe.store.datastore.Datastore.age`). Its holder counts from its own
last renewal.

A lease saves work, it does not protect outputs: should two owners believe that they hold one, both run and
the first seal wins.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, lease_key

log = logging.getLogger(__name__)

DEFAULT_DURATION = 60.0
_RENEWALS_PER_DURATION = 3
_ATTEMPTS_KEPT = 20


def _checked(attempt: str) -> str:
    if attempt:
        attempt_prefix(attempt)  # whoever follows it looks there
    return attempt


Attempt = Annotated[str, AfterValidator(_checked)]


class LeaseDocument(BaseModel):
    """What is stored. It lapses when it is *duration* seconds old and was not renewed.

    *attempt* is what its owner started, or will; *previous_attempts* are those of earlier owners who died,
    latest first; *announced* are those of all of them whose sealing was begun. *renewals* makes the bytes of
    each renewal others than those before. *written_at*, seconds since the epoch by the owner's clock, is for
    people, and for stores that tell no times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    schema_version: Literal[1]
    owner: str
    attempt: Attempt
    previous_attempts: tuple[Attempt, ...] = ()
    announced: tuple[Attempt, ...] = ()
    token: str
    duration: float = Field(gt=0)
    renewals: int = 0
    written_at: float


@dataclass(frozen=True)
class LeaseRecord:
    """A lease as it was read: the document, and the very bytes that a takeover must find unchanged.

    One that cannot be read has no ``owner``, ``attempt`` or ``token``.
    """

    document: LeaseDocument
    raw: bytes

    @classmethod
    def write(cls, document: LeaseDocument) -> LeaseRecord:
        """The record of a new *document*."""
        return cls(document, document.model_dump_json().encode() + b"\n")

    @classmethod
    def parse(cls, raw: bytes, unreadable_duration: float = DEFAULT_DURATION) -> LeaseRecord:
        """The record in *raw*.

        What cannot be read may be a lease of a later version, so it counts as one that lasts
        *unreadable_duration* seconds.
        """
        try:
            return cls(LeaseDocument.model_validate_json(raw), raw)
        except (ValidationError, StoreError):
            nobody = LeaseDocument(
                schema_version=1, owner="", attempt="", token="", duration=unreadable_duration, written_at=0.0
            )
            return cls(nobody, raw)

    @property
    def owner(self) -> str:
        return self.document.owner

    @property
    def attempt(self) -> str:
        return self.document.attempt

    @property
    def attempts(self) -> tuple[str, ...]:
        """Everything that may have been started under this lease and those it was taken over from."""
        mine = (self.attempt,) if self.attempt else ()
        # An owner may have taken its own lease anew for the same attempt.
        return tuple(dict.fromkeys((*mine, *self.document.previous_attempts)))[:_ATTEMPTS_KEPT]

    @property
    def token(self) -> str:
        return self.document.token

    @property
    def duration(self) -> float:
        return self.document.duration


class Lease:
    """A lease that this process holds. Its methods may be called from any thread.

    ``lost`` is set once somebody else took it over, or it could not be renewed in time. As a context manager
    it is released at the end, unless the store failed.
    """

    def __init__(
        self,
        datastore: Datastore,
        fingerprint: str,
        record: LeaseRecord,
        *,
        held_since: float,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
    ) -> None:
        self.fingerprint = fingerprint
        self.lost = threading.Event()
        self._datastore = datastore
        self._record = record
        self._held_since = held_since  # by the stopwatch, before the record was written
        self._clock = clock
        self._stopwatch = stopwatch
        self._released = False
        self._mutex = threading.Lock()

    @property
    def record(self) -> LeaseRecord:
        """The lease as it was last written."""
        return self._record

    def previous_attempts(self, *, announced: bool) -> tuple[str, ...]:
        """What earlier owners, who died, had started or were to start; latest first.

        Without *announced*, only what certainly was never sealed.
        """
        document = self._record.document
        return tuple(
            name for name in document.previous_attempts if announced or name not in document.announced
        )

    def announce_seal(self, attempt: str) -> None:
        """Note in the lease that *attempt* is about to be sealed, so that nobody does it a second time.

        Raises StoreError.
        """
        with self._mutex:
            self._rewrite(announced=(attempt, *self._record.document.announced)[:_ATTEMPTS_KEPT])

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What the step made may be whole although it could not be sealed: whoever takes the lease over finds
        # the attempt in it.
        if not isinstance(error, StoreError):
            self.release()

    def renew(self) -> bool:
        """Start a full duration anew; whether the lease is still held.

        A store that cannot be reached does not end the lease before it lapses.
        """
        with self._mutex:
            if self._released or self.lost.is_set():
                return False
            try:
                held = self._rewrite()
            except StoreError as error:
                held = self._stopwatch() - self._held_since < self._record.duration
                log.warning("The lease on %s was not renewed: %s", self.fingerprint, error)
            if not held:
                self.lost.set()
            return held

    def release(self) -> None:
        """Give the lease up if it is still ours; again is fine, and so is a store that cannot be reached."""
        with self._mutex:
            if self._released:
                return
            self._released = True
            try:
                self._swap(None)
            except StoreError as error:
                # It will lapse, which frees it a little later.
                log.warning("The lease on %s was not released: %s", self.fingerprint, error)

    def leave(self) -> None:
        """Have the lease stay as it is for another process of the same owner, which resumes it."""
        with self._mutex:
            self._released = True

    @contextmanager
    def keep_alive(self) -> Iterator[Lease]:
        """Renew from a thread while the block runs; look at ``lost`` to learn that it was in vain."""
        stopped = threading.Event()
        pause = self._record.duration / _RENEWALS_PER_DURATION

        def renew_until_stopped() -> None:
            while not stopped.wait(pause) and self.renew():
                pass

        thread = threading.Thread(target=renew_until_stopped, name=f"lease {self.fingerprint}", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stopped.set()
            thread.join(pause)

    def _rewrite(self, **changes: Any) -> bool:
        """Write the lease anew, with *changes*, unless it is somebody else's by now; whether it was ours."""
        started = self._stopwatch()
        document = self._record.document
        renewal = {"renewals": document.renewals + 1, "written_at": self._clock()}
        record = LeaseRecord.write(document.model_copy(update={**changes, **renewal}))
        if not self._swap(record.raw):
            return False
        self._record, self._held_since = record, started
        return True

    def _swap(self, raw: bytes | None) -> bool:
        """Put *raw* in place of our document, if that is what is stored."""
        key = lease_key(self.fingerprint)
        if self._datastore.swap(key, self._record.raw, raw):
            return True
        stored = self._datastore.read(key)
        # An earlier renewal may have arrived although its reply did not: the token tells that it is ours.
        if stored is None or LeaseRecord.parse(stored).token != self._record.token:
            return False
        return self._datastore.swap(key, stored, raw)


class Leases:
    """The leases of a datastore. *duration* is in seconds.

    *clock* gives seconds since the epoch; *stopwatch* counts seconds and never goes back.
    """

    def __init__(
        self,
        datastore: Datastore,
        *,
        duration: float = DEFAULT_DURATION,
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._datastore = datastore
        self._duration = duration
        self._clock = clock
        self._stopwatch = stopwatch

    def take(self, fingerprint: str, owner: str, attempt: str) -> Lease | LeaseRecord:
        """The lease on *fingerprint* for *attempt*, or the record of who else holds it.

        Taken over is what has lapsed, and what *owner* left behind, who makes one attempt at a time.
        """
        while True:
            if (lease := self.acquire(fingerprint, owner, attempt)) is not None:
                return lease
            current = self.current(fingerprint)
            if current is None:
                continue
            if current.owner != owner and not self.has_lapsed(fingerprint, current):
                return current
            if (lease := self.take_over(fingerprint, current, owner, attempt)) is not None:
                return lease

    def resumed(self, fingerprint: str, owner: str, attempt: str) -> Lease | None:
        """The lease that another process of *owner* took for *attempt* and left; None when it is gone."""
        started, record = self._stopwatch(), self.current(fingerprint)
        if record is None or (record.owner, record.attempt) != (owner, attempt):
            return None
        return self._of(fingerprint, record, started)

    def acquire(self, fingerprint: str, owner: str, attempt: str) -> Lease | None:
        """A new lease on *fingerprint*; None when there is one already, lapsed or not."""
        lease = self._new(fingerprint, owner, attempt)
        return lease if self._datastore.create(lease_key(fingerprint), lease.record.raw) else None

    def current(self, fingerprint: str) -> LeaseRecord | None:
        """Who holds *fingerprint*, lapsed or not; None when nobody does."""
        raw = self._datastore.read(lease_key(fingerprint))
        return None if raw is None else LeaseRecord.parse(raw, self._duration)

    def has_lapsed(self, fingerprint: str, record: LeaseRecord) -> bool:
        """Whether the owner of *record* has not renewed it for its duration, by the clock of the store.

        A store that tells no times leaves only the clocks of the owner and of this machine to compare.
        """
        key = lease_key(fingerprint)
        age = self._datastore.age(key)
        if age is None:
            age = self._clock() - record.document.written_at
        elif age < -record.duration:
            # The store's clock was set back: written anew, the same bytes are still the owner's.
            self._datastore.swap(key, record.raw, record.raw)
        return age >= record.duration

    def take_over(self, fingerprint: str, previous: LeaseRecord, owner: str, attempt: str) -> Lease | None:
        """A new lease in place of *previous*; None when that has been renewed, released or taken meanwhile.

        Whether *previous* may be taken is the caller's decision: it has lapsed, or its owner is known dead.
        """
        lease = self._new(fingerprint, owner, attempt, previous)
        taken = self._datastore.swap(lease_key(fingerprint), previous.raw, lease.record.raw)
        return lease if taken else None

    def _new(self, fingerprint: str, owner: str, attempt: str, previous: LeaseRecord | None = None) -> Lease:
        """A lease that is yet to be written."""
        document = LeaseDocument(
            schema_version=1,
            owner=owner,
            attempt=attempt,
            previous_attempts=previous.attempts if previous else (),
            announced=previous.document.announced if previous else (),
            token=uuid.uuid4().hex,
            duration=self._duration,
            written_at=self._clock(),
        )
        return self._of(fingerprint, LeaseRecord.write(document), self._stopwatch())

    def _of(self, fingerprint: str, record: LeaseRecord, held_since: float) -> Lease:
        return Lease(
            self._datastore,
            fingerprint,
            record,
            held_since=held_since,
            clock=self._clock,
            stopwatch=self._stopwatch,
        )
