from __future__ import annotations

import json
import logging
import multiprocessing
import multiprocessing.synchronize
import threading
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import lease_key
from airflow_mlpipe.store.lease import Lease, Leases

FINGERPRINT = "ab" * 32


@pytest.fixture
def leases(datastore: Datastore, clock: Any) -> Leases:
    return Leases(datastore, duration=60.0, clock=clock)


def acquired(leases: Leases, owner: str = "me") -> Lease:
    lease = leases.acquire(FINGERPRINT, owner, "attempt-1")
    assert lease is not None
    return lease


def test_the_document_is_pinned(datastore: Datastore, leases: Leases) -> None:
    lease = acquired(leases)
    assert json.loads(datastore.read(lease_key(FINGERPRINT)) or b"") == {
        "schema_version": 1,
        "owner": "me",
        "attempt": "attempt-1",
        "token": lease.record.token,
        "acquired_at": 1_000_000.0,
        "expires_at": 1_000_060.0,
        "heartbeat": 20.0,
    }


def test_a_held_lease_is_not_acquired_even_when_it_expired(leases: Leases, clock: Any) -> None:
    assert leases.current(FINGERPRINT) is None
    acquired(leases)
    assert leases.acquire(FINGERPRINT, "other", "attempt-2") is None
    clock.now += 61
    assert leases.acquire(FINGERPRINT, "other", "attempt-2") is None
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert (current.owner, current.attempt) == ("me", "attempt-1")


def test_a_lease_expires_at_its_second(leases: Leases, clock: Any) -> None:
    record = acquired(leases).record
    assert not record.expired(clock.now + 59.9)
    assert record.expired(clock.now + 60)


def test_renewing_moves_the_expiry(leases: Leases, clock: Any) -> None:
    lease = acquired(leases)
    clock.now += 50
    assert lease.renew()
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert current.expires_at == clock.now + 60
    assert current.acquired_at == clock.now - 50


def test_a_takeover_ends_the_earlier_lease(leases: Leases, clock: Any) -> None:
    lease = acquired(leases)
    clock.now += 61
    previous = leases.current(FINGERPRINT)
    assert previous is not None
    taken = leases.take_over(FINGERPRINT, previous, "other", "attempt-2")
    assert taken is not None
    assert not lease.renew()
    assert lease.lost.is_set()
    lease.release()
    assert taken.renew()
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert current.owner == "other"


def test_a_takeover_fails_when_somebody_was_quicker(leases: Leases) -> None:
    lease = acquired(leases)
    previous = lease.record
    first = leases.take_over(FINGERPRINT, lease.record, "first", "attempt-2")
    assert first is not None
    assert leases.take_over(FINGERPRINT, previous, "second", "attempt-3") is None
    first.release()
    assert leases.take_over(FINGERPRINT, first.record, "second", "attempt-3") is None


def test_a_renewal_defeats_a_takeover_that_read_before_it(leases: Leases, clock: Any) -> None:
    lease = acquired(leases)
    clock.now += 61
    previous = leases.current(FINGERPRINT)
    assert previous is not None
    assert lease.renew()
    assert leases.take_over(FINGERPRINT, previous, "other", "attempt-2") is None
    assert lease.renew()


def test_a_released_lease_is_free_and_stays_released(leases: Leases) -> None:
    lease = acquired(leases)
    lease.release()
    assert leases.current(FINGERPRINT) is None
    other = acquired(leases, "other")
    lease.release()
    assert not lease.renew()
    assert other.renew()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema_version": 1}', b"\xff"])
def test_an_unreadable_lease_is_an_expired_one_of_nobody(
    datastore: Datastore, leases: Leases, clock: Any, data: bytes
) -> None:
    datastore.write(lease_key(FINGERPRINT), data)
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert (current.owner, current.attempt) == ("", "")
    assert current.expired(clock.now)
    assert leases.take_over(FINGERPRINT, current, "me", "attempt-1") is not None


def test_a_renewal_whose_reply_was_lost_is_recognised_by_its_token(
    datastore: Datastore, leases: Leases, clock: Any
) -> None:
    lease = acquired(leases)
    stored = json.loads(datastore.read(lease_key(FINGERPRINT)) or b"")
    datastore.write(lease_key(FINGERPRINT), json.dumps({**stored, "expires_at": clock.now + 99.0}).encode())
    assert lease.renew()
    lease.release()
    assert leases.current(FINGERPRINT) is None


def test_a_store_that_cannot_be_reached_ends_a_lease_only_when_it_expires(
    local: Datastore, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lease = acquired(Leases(local, duration=60.0, clock=clock))
    locks = local.local_path("mlpipe/v1/locks")
    assert locks is not None
    locks.write_text("a file in the way of the locks")
    clock.now += 59
    with caplog.at_level(logging.WARNING):
        assert lease.renew()
        assert not lease.lost.is_set()
        clock.now += 1
        assert not lease.renew()
    assert lease.lost.is_set()
    assert "was not renewed" in caplog.text
    lease.release()
    assert "was not released" in caplog.text


def test_a_lease_is_renewed_while_a_block_runs(datastore: Datastore) -> None:
    renewed = threading.Event()
    ticks = iter(range(10_000))

    def clock() -> float:
        now = float(next(ticks))
        if now >= 3:
            renewed.set()
        return now

    lease = acquired(Leases(datastore, duration=0.03, clock=clock))
    with lease.keep_alive() as kept:
        assert kept is lease
        assert renewed.wait(30)
    assert lease.record.expires_at > 1
    assert not lease.lost.is_set()


def test_a_block_learns_that_its_lease_was_taken(datastore: Datastore) -> None:
    leases = Leases(datastore, duration=0.03)
    lease = acquired(leases)
    with lease.keep_alive():
        taken = None
        while taken is None:
            previous = leases.current(FINGERPRINT)
            assert previous is not None
            taken = leases.take_over(FINGERPRINT, previous, "other", "attempt-2")
        assert lease.lost.wait(30)


def _acquire(url: str, number: int, start: multiprocessing.synchronize.Barrier) -> None:
    leases = Leases(Datastore.open(url))
    start.wait()
    raise SystemExit(leases.acquire(FINGERPRINT, f"owner-{number}", f"attempt-{number}") is not None)


def _take_over(url: str, number: int, start: multiprocessing.synchronize.Barrier) -> None:
    leases = Leases(Datastore.open(url))
    previous = leases.current(FINGERPRINT)
    assert previous is not None
    start.wait()
    won = leases.take_over(FINGERPRINT, previous, f"owner-{number}", f"attempt-{number}")
    raise SystemExit(won is not None)


@pytest.mark.parametrize("contend", [_acquire, _take_over])
def test_of_eight_processes_exactly_one_gets_the_lease(local: Datastore, contend: Any) -> None:
    if contend is _take_over:
        acquired(Leases(local, clock=lambda: 0.0))
    context = multiprocessing.get_context("fork")
    start = context.Barrier(8)
    processes = [context.Process(target=contend, args=(local.url, number, start)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    winners = [number for number, process in enumerate(processes) if process.exitcode]
    assert len(winners) == 1
    current = Leases(local).current(FINGERPRINT)
    assert current is not None
    assert current.owner == f"owner-{winners[0]}"
