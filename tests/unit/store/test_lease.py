from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import multiprocessing.synchronize
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import Folder
from airflow_mlpipe.store.layout import lease_key
from airflow_mlpipe.store.lease import Lease, LeaseRecord, Leases
from airflow_mlpipe.store.local_folder import LocalFolder
from tests.unit.store.faulty import ClockedFolder, caused_by

FINGERPRINT = "ab" * 32
KEY = lease_key(FINGERPRINT)
MINUTES = 600.0


@pytest.fixture
def datastore(folder: Folder, clock: Any) -> Datastore:
    """A store of each kind, with a clock that is set by hand."""
    return Datastore(ClockedFolder(folder, clock), pause=lambda seconds: None)


def on_a_machine(datastore: Datastore, clock: Any, *, skew: float = 0.0, duration: float = 60.0) -> Leases:
    """Leases as a machine sees them whose clock differs from that of the store by *skew* seconds."""
    return Leases(
        datastore, duration=duration, clock=lambda: clock.now + skew, stopwatch=lambda: clock.now - 999_000
    )


@pytest.fixture
def leases(datastore: Datastore, clock: Any) -> Leases:
    return on_a_machine(datastore, clock)


def acquired(leases: Leases, owner: str = "me") -> Lease:
    lease = leases.acquire(FINGERPRINT, owner, "attempt-1")
    assert lease is not None
    return lease


def has_lapsed(leases: Leases) -> bool:
    current = leases.current(FINGERPRINT)
    assert current is not None
    return leases.has_lapsed(FINGERPRINT, current)


def test_the_document_is_pinned(datastore: Datastore, leases: Leases) -> None:
    lease = acquired(leases)
    assert json.loads(datastore.read(KEY) or b"") == {
        "schema_version": 1,
        "owner": "me",
        "attempt": "attempt-1",
        "previous_attempts": [],
        "announced": [],
        "token": lease.record.token,
        "duration": 60.0,
        "renewals": 0,
        "written_at": 1_000_000.0,
    }


def test_a_held_lease_is_not_acquired_even_when_it_has_lapsed(leases: Leases, clock: Any) -> None:
    assert leases.current(FINGERPRINT) is None
    acquired(leases)
    assert leases.acquire(FINGERPRINT, "other", "attempt-2") is None
    clock.now += 61
    assert leases.acquire(FINGERPRINT, "other", "attempt-2") is None
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert (current.owner, current.attempt) == ("me", "attempt-1")


def test_a_lease_lapses_at_its_second(leases: Leases, clock: Any) -> None:
    acquired(leases)
    clock.now += 59.5
    assert not has_lapsed(leases)
    clock.now += 0.5
    assert has_lapsed(leases)


@pytest.mark.parametrize("owners", [-MINUTES, 0.0, MINUTES])
@pytest.mark.parametrize("readers", [-MINUTES, 0.0, MINUTES])
def test_a_lease_lapses_at_its_second_whatever_the_clocks_of_its_owner_and_its_reader_say(
    datastore: Datastore, clock: Any, owners: float, readers: float
) -> None:
    owner, reader = on_a_machine(datastore, clock, skew=owners), on_a_machine(datastore, clock, skew=readers)
    lease = acquired(owner)
    for _ in range(3):
        clock.now += 59
        assert not has_lapsed(reader)
        assert lease.renew()
    clock.now += 60
    assert has_lapsed(reader)


def test_a_lease_lasts_as_long_as_its_owner_said(datastore: Datastore, clock: Any) -> None:
    acquired(on_a_machine(datastore, clock, duration=300.0))
    reader = on_a_machine(datastore, clock, duration=60.0)
    clock.now += 299
    assert not has_lapsed(reader)
    clock.now += 1
    assert has_lapsed(reader)


def test_renewing_starts_a_full_duration_anew(leases: Leases, clock: Any) -> None:
    lease = acquired(leases)
    for renewals in (1, 2, 3):
        clock.now += 50
        assert lease.renew()
        current = leases.current(FINGERPRINT)
        assert current is not None
        assert current.document.renewals == renewals
        assert not leases.has_lapsed(FINGERPRINT, current)


def test_a_lease_of_before_the_stores_clock_was_set_back_lapses_all_the_same(
    leases: Leases, clock: Any
) -> None:
    acquired(leases)
    clock.now -= 365 * 86_400
    assert not has_lapsed(leases)  # which writes it anew
    clock.now += 59
    assert not has_lapsed(leases)
    clock.now += 1
    assert has_lapsed(leases)


def test_its_owner_keeps_a_lease_that_was_written_anew(leases: Leases, clock: Any) -> None:
    lease = acquired(leases)
    clock.now -= 3600
    assert not has_lapsed(leases)
    assert lease.renew()
    lease.release()
    assert leases.current(FINGERPRINT) is None


def test_where_the_store_tells_no_times_the_clocks_of_owner_and_reader_are_compared(
    folder: Folder, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(folder), "age", lambda self, key: None)
    leases = on_a_machine(Datastore(folder, pause=lambda seconds: None), clock)
    acquired(leases)
    clock.now += 59
    assert not has_lapsed(leases)
    clock.now += 1
    assert has_lapsed(leases)


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


def test_a_takeover_knows_the_attempts_of_all_who_died_before(leases: Leases) -> None:
    record = acquired(leases).record
    for number in range(2, 30):
        lease = leases.take_over(FINGERPRINT, record, "other", f"attempt-{number}")
        assert lease is not None
        assert lease.previous_attempts(announced=True) == tuple(
            f"attempt-{earlier}" for earlier in range(number - 1, max(0, number - 21), -1)
        )
        assert lease.renew()
        record = lease.record


def test_what_may_have_been_sealed_is_told_apart_for_all_who_come_after(leases: Leases) -> None:
    lease = acquired(leases)
    lease.announce_seal("attempt-1")
    for number in (2, 3):
        current = leases.current(FINGERPRINT)
        assert current is not None
        taken = leases.take_over(FINGERPRINT, current, "other", f"attempt-{number}")
        assert taken is not None
        assert taken.renew()
        assert "attempt-1" in taken.previous_attempts(announced=True)
        assert "attempt-1" not in taken.previous_attempts(announced=False)
    assert taken.previous_attempts(announced=False) == ("attempt-2",)


def test_taking_a_lease_gives_it_or_tells_who_holds_it(leases: Leases, clock: Any) -> None:
    mine = leases.take(FINGERPRINT, "me", "attempt-1")
    assert isinstance(mine, Lease)
    held = leases.take(FINGERPRINT, "other", "attempt-2")
    assert isinstance(held, LeaseRecord)
    assert (held.owner, held.attempt) == ("me", "attempt-1")
    clock.now += 60
    theirs = leases.take(FINGERPRINT, "other", "attempt-2")
    assert isinstance(theirs, Lease)
    assert theirs.previous_attempts(announced=True) == ("attempt-1",)


def test_an_owner_takes_over_at_once_what_it_left_behind(leases: Leases) -> None:
    acquired(leases)
    again = leases.take(FINGERPRINT, "me", "attempt-2")
    assert isinstance(again, Lease)
    assert again.previous_attempts(announced=True) == ("attempt-1",)


def test_a_released_lease_is_free_and_stays_released(leases: Leases) -> None:
    lease = acquired(leases)
    lease.release()
    assert leases.current(FINGERPRINT) is None
    other = acquired(leases, "other")
    assert other.previous_attempts(announced=True) == ()
    lease.release()
    assert not lease.renew()
    assert other.renew()


def test_a_lease_is_released_when_its_block_ends_or_fails(leases: Leases) -> None:
    with acquired(leases):
        pass
    assert leases.current(FINGERPRINT) is None
    with pytest.raises(ZeroDivisionError), acquired(leases):
        raise ZeroDivisionError
    assert leases.current(FINGERPRINT) is None


def test_a_lease_that_is_left_is_resumed_by_another_process_of_its_owner_for_the_same_attempt(
    leases: Leases, clock: Any
) -> None:
    with acquired(leases) as lease:
        lease.leave()
    assert not lease.renew()
    clock.now += 50
    for owner, attempt in (("other", "attempt-1"), ("me", "attempt-2")):
        assert leases.resumed(FINGERPRINT, owner, attempt) is None
    resumed = leases.resumed(FINGERPRINT, "me", "attempt-1")
    assert resumed is not None
    assert resumed.renew()
    clock.now += 50
    assert not has_lapsed(leases)
    taken = leases.take(FINGERPRINT, "me", "attempt-1")
    assert isinstance(taken, Lease)
    assert taken.record.attempts == ("attempt-1",)
    assert not resumed.renew()
    taken.release()
    assert leases.resumed(FINGERPRINT, "me", "attempt-1") is None


def test_a_failing_store_leaves_the_lease_so_that_the_attempt_is_found_again(
    leases: Leases, clock: Any
) -> None:
    with pytest.raises(StoreError), acquired(leases):
        raise StoreError("no space is left")
    left = leases.current(FINGERPRINT)
    assert left is not None
    clock.now += 60
    assert leases.has_lapsed(FINGERPRINT, left)
    next_one = leases.take_over(FINGERPRINT, left, "other", "attempt-2")
    assert next_one is not None
    assert next_one.previous_attempts(announced=True) == ("attempt-1",)


def document(**changes: Any) -> bytes:
    fields = {
        "schema_version": 1,
        "owner": "o",
        "attempt": "a",
        "token": "t",
        "duration": 9.0,
        "written_at": 0.0,
    }
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        document(schema_version=2),
        document(duration=0.0),
        document(duration=-1.0),
        document().replace(b"9.0", b"1e999"),
        document(attempt="../../etc"),
        document(previous_attempts=["fine", "/not"]),
        document(unknown=1),
    ],
)
def test_an_unreadable_lease_is_one_of_nobody_that_lapses_after_the_readers_own_duration(
    datastore: Datastore, leases: Leases, clock: Any, data: bytes
) -> None:
    datastore.write(KEY, data)
    current = leases.current(FINGERPRINT)
    assert current is not None
    assert (current.owner, current.attempts) == ("", ())
    clock.now += 59
    assert not leases.has_lapsed(FINGERPRINT, current)
    clock.now += 1
    assert leases.has_lapsed(FINGERPRINT, current)
    taken = leases.take_over(FINGERPRINT, current, "me", "attempt-1")
    assert taken is not None
    assert taken.previous_attempts(announced=True) == ()


def test_a_renewal_whose_reply_was_lost_is_recognised_by_its_token(
    datastore: Datastore, leases: Leases
) -> None:
    lease = acquired(leases)
    stored = json.loads(datastore.read(KEY) or b"")
    datastore.write(KEY, json.dumps({**stored, "renewals": 99}).encode())
    assert lease.renew()
    lease.release()
    assert leases.current(FINGERPRINT) is None


class Outage:
    """A store that cannot be reached while it lasts."""

    lasts = False

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        if self.lasts:
            raise caused_by(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)), verb, key)


@pytest.mark.parametrize("skew", [-MINUTES, MINUTES])
def test_a_store_that_cannot_be_reached_ends_a_lease_only_when_it_lapses(
    tmp_path: Path, clock: Any, caplog: pytest.LogCaptureFixture, skew: float
) -> None:
    outage = Outage()
    datastore = Datastore(ClockedFolder(LocalFolder(tmp_path), clock, outage), pause=lambda seconds: None)
    lease = acquired(on_a_machine(datastore, clock, skew=skew))
    clock.now += 30
    assert lease.renew()
    outage.lasts = True
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
    renewals = iter(range(10_000))

    def clock() -> float:
        if next(renewals) >= 3:
            renewed.set()
        return 0.0

    lease = acquired(Leases(datastore, duration=0.03, clock=clock))
    with lease.keep_alive() as kept:
        assert kept is lease
        assert renewed.wait(30)
    assert lease.record.document.renewals >= 2
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
        acquired(Leases(local))
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
