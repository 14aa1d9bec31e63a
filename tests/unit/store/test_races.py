"""Ten processes that want the same, on real object services: one gets it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Lease, Leases
from tests.services import new_bucket, new_container

PROCESSES = 10
FREE, LEFT = "ab" * 32, "cd" * 32


@dataclass
class Contest:
    """What ten processes did at the same moments with one store, opened before they were forked."""

    store: Datastore
    outcomes: list[dict[str, Any]]

    def each(self, name: str) -> list[Any]:
        return [outcome[name] for outcome in self.outcomes]


@pytest.fixture(scope="module", params=["s3", "blob"])
def contest(request: pytest.FixtureRequest) -> Contest:
    server = request.getfixturevalue(f"{request.param}_server")
    service = new_bucket(server) if request.param == "s3" else new_container(server)
    store = Datastore.open(f"{service.url}/store", **service.options)
    assert store.weakness() is None
    left = Leases(store).take(LEFT, "dead", "attempt-0")
    assert isinstance(left, Lease)
    store.write("counter", b"0 by nobody")
    races: dict[str, Callable[[int], Any]] = {
        "creation": lambda number: store.create("one", b"%d" % number),
        "lease": lambda number: isinstance(Leases(store).take(FREE, f"owner-{number}", ""), Lease),
        "takeover": lambda number: (
            Leases(store).take_over(LEFT, left.record, f"owner-{number}", "") is not None
        ),
        "counting": lambda number: count_up(store, number),
    }
    return Contest(store, run_in_processes(races, lambda: store.exists("none")))


def run_in_processes(
    races: dict[str, Callable[[int], Any]], connect: Callable[[], Any]
) -> list[dict[str, Any]]:
    """What each of ten processes returns in each race; all begin it together."""
    context = multiprocessing.get_context("fork")
    start, outcomes = context.Barrier(PROCESSES), context.Queue()

    def run(number: int) -> None:
        connect()
        outcome: dict[str, Any] = {"number": number}
        for name, race in races.items():
            start.wait()
            outcome[name] = race(number)
        outcomes.put(outcome)

    runners = [context.Process(target=run, args=(number,)) for number in range(PROCESSES)]
    for runner in runners:
        runner.start()
    found = [outcomes.get(timeout=60) for _ in runners]
    for runner in runners:
        runner.join(60)
    return found


def count_up(store: Datastore, number: int) -> int:
    """Add one to the counter; returns how many tries that took."""
    tries = 0
    while True:
        tries += 1
        before = store.read("counter") or b""
        if store.swap("counter", before, b"%d by %d" % (int(before.split()[0]) + 1, number)):
            return tries


@pytest.mark.parametrize("race", ["creation", "lease", "takeover"])
def test_one_wins(contest: Contest, race: str) -> None:
    assert sum(contest.each(race)) == 1


def test_all_see_the_bytes_of_the_winner(contest: Contest) -> None:
    assert (
        contest.store.read("one") == b"%d" % contest.outcomes[contest.each("creation").index(True)]["number"]
    )


def test_no_exchange_is_lost(contest: Contest) -> None:
    assert (contest.store.read("counter") or b"").startswith(b"10 by ")
    assert sum(contest.each("counting")) > PROCESSES, "nobody was refused: that was no race"
