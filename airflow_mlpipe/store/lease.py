"""Who is producing a fingerprint: single flight, by a document that expires unless it is renewed.

A lease saves work, it does not protect outputs: should two owners believe that they hold one, both run and
the first seal wins. Expiry compares clocks of different machines, so these should agree to within seconds.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import lease_key

log = logging.getLogger(__name__)

_RENEWALS_PER_DURATION = 3


class LeaseDocument(BaseModel):
    """What is stored. Times are seconds since the epoch; *heartbeat* is the seconds between renewals."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1]
    owner: str
    attempt: str
    token: str
    acquired_at: float
    expires_at: float
    heartbeat: float


_NOBODY = LeaseDocument(
    schema_version=1, owner="", attempt="", token="", acquired_at=0.0, expires_at=0.0, heartbeat=0.0
)


@dataclass(frozen=True)
class LeaseRecord:
    """A lease as it was read: the document, and the very bytes that a takeover must find unchanged."""

    document: LeaseDocument
    raw: bytes

    @classmethod
    def write(cls, document: LeaseDocument) -> LeaseRecord:
        """The record of a new *document*."""
        return cls(document, document.model_dump_json().encode() + b"\n")

    @classmethod
    def parse(cls, raw: bytes) -> LeaseRecord:
        """The record in *raw*; what cannot be read is an expired lease of nobody."""
        try:
            return cls(LeaseDocument.model_validate_json(raw), raw)
        except ValidationError:
            return cls(_NOBODY, raw)

    @property
    def owner(self) -> str:
        return self.document.owner

    @property
    def attempt(self) -> str:
        return self.document.attempt

    @property
    def token(self) -> str:
        return self.document.token

    @property
    def acquired_at(self) -> float:
        return self.document.acquired_at

    @property
    def expires_at(self) -> float:
        return self.document.expires_at

    def expired(self, now: float) -> bool:
        """Whether the owner has let it lapse at *now*, seconds since the epoch."""
        return now >= self.document.expires_at


class Lease:
    """A lease that this process holds. Its methods may be called from any thread.

    ``lost`` is set once somebody else took it over, or it could not be renewed in time.
    """

    def __init__(
        self,
        datastore: Datastore,
        fingerprint: str,
        record: LeaseRecord,
        *,
        duration: float,
        clock: Callable[[], float],
    ) -> None:
        self.fingerprint = fingerprint
        self.lost = threading.Event()
        self._datastore = datastore
        self._record = record
        self._duration = duration
        self._clock = clock
        self._released = False
        self._mutex = threading.Lock()

    @property
    def record(self) -> LeaseRecord:
        """The lease as it was last written."""
        return self._record

    def renew(self) -> bool:
        """Move the expiry to a full duration from now; whether the lease is still held.

        A store that cannot be reached does not end the lease before it expires.
        """
        with self._mutex:
            if self._released or self.lost.is_set():
                return False
            try:
                held = self._extend()
            except StoreError as error:
                held = not self._record.expired(self._clock())
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
                # It will expire, which frees it a little later.
                log.warning("The lease on %s was not released: %s", self.fingerprint, error)

    @contextmanager
    def keep_alive(self) -> Iterator[Lease]:
        """Renew from a thread while the block runs; look at ``lost`` to learn that it was in vain."""
        stopped = threading.Event()
        heartbeat = self._record.document.heartbeat

        def renew_until_stopped() -> None:
            while not stopped.wait(heartbeat) and self.renew():
                pass

        thread = threading.Thread(target=renew_until_stopped, name=f"lease {self.fingerprint}", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stopped.set()
            thread.join(heartbeat)

    def _extend(self) -> bool:
        expires_at = self._clock() + self._duration
        record = LeaseRecord.write(self._record.document.model_copy(update={"expires_at": expires_at}))
        if not self._swap(record.raw):
            return False
        self._record = record
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
    """The leases of a datastore. *duration* is in seconds; *clock* gives seconds since the epoch."""

    def __init__(
        self, datastore: Datastore, *, duration: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._datastore = datastore
        self._duration = duration
        self._clock = clock

    def acquire(self, fingerprint: str, owner: str, attempt: str) -> Lease | None:
        """A new lease on *fingerprint*; None when there is one already, expired or not."""
        record = self._new_record(owner, attempt)
        if not self._datastore.create(lease_key(fingerprint), record.raw):
            return None
        return Lease(self._datastore, fingerprint, record, duration=self._duration, clock=self._clock)

    def current(self, fingerprint: str) -> LeaseRecord | None:
        """Who holds *fingerprint*, expired or not; None when nobody does."""
        raw = self._datastore.read(lease_key(fingerprint))
        return None if raw is None else LeaseRecord.parse(raw)

    def take_over(self, fingerprint: str, previous: LeaseRecord, owner: str, attempt: str) -> Lease | None:
        """A new lease in place of *previous*; None when that has been renewed, released or taken meanwhile.

        Whether *previous* may be taken is the caller's decision: it expired, or its owner is known dead.
        """
        record = self._new_record(owner, attempt)
        if not self._datastore.swap(lease_key(fingerprint), previous.raw, record.raw):
            return None
        return Lease(self._datastore, fingerprint, record, duration=self._duration, clock=self._clock)

    def _new_record(self, owner: str, attempt: str) -> LeaseRecord:
        now = self._clock()
        return LeaseRecord.write(
            LeaseDocument(
                schema_version=1,
                owner=owner,
                attempt=attempt,
                token=uuid.uuid4().hex,
                acquired_at=now,
                expires_at=now + self._duration,
                heartbeat=self._duration / _RENEWALS_PER_DURATION,
            )
        )
