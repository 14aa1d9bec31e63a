from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from airflow_mlpipe.store.parallel import Stopped, default_threads, in_order


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    assert list(in_order(lambda item, checkpoint: item * 2, range(100), threads)) == list(range(0, 200, 2))


def test_items_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(3, timeout=60)
    assert list(in_order(lambda item, checkpoint: meeting.wait() >= 0, range(3), 3)) == [True] * 3


def test_no_more_items_are_taken_than_soon_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda item, checkpoint: item, items(), 2)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_in_order_is_raised(threads: int) -> None:
    def work(item: int, checkpoint: Callable[[], None]) -> int:
        if item in (3, 5):
            raise ValueError(item)
        return item

    results = in_order(work, range(1000), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^3$"):
        next(results)


def test_an_error_ends_work_that_is_under_way_and_begins_no_more() -> None:
    begun: list[int] = []
    waiting = threading.Event()
    ended: list[int] = []

    def work(item: int, checkpoint: Callable[[], None]) -> None:
        begun.append(item)
        if item == 0:
            waiting.wait(30)
            raise ValueError
        waiting.set()
        try:
            while True:
                checkpoint()
        except Stopped:
            ended.append(item)
            raise

    with pytest.raises(ValueError, match=r"^$"):
        list(in_order(work, range(100), 2))
    assert sorted(ended) == sorted(item for item in begun if item)
    assert len(begun) < 100


def test_a_process_has_one_to_eight_threads() -> None:
    assert 1 <= default_threads() <= 8
