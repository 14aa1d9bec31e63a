"""Which outputs are beyond the limits, from literals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.store.garbage.limits import DAY, Limits, Outputs, beyond_limits

NOW = 1000 * DAY
TRAIN, SCORE = ("retrain", "train", -1), ("retrain", "score", -1)


def outputs(name: str, days: float, *, size: int = 10, tasks: set = {TRAIN}, held: bool = False) -> Outputs:  # noqa: B006
    """Outputs last used *days* ago."""
    return Outputs(name, size, NOW - days * DAY, tuple(tasks), held)


def gone(found: list[Outputs], **limits: float) -> list[str]:
    return list(beyond_limits(found, Limits(**limits), NOW))  # type: ignore[arg-type]


def test_without_limits_everything_stays() -> None:
    assert gone([outputs("a", 900)]) == []


def test_outputs_unused_for_too_long_go_and_the_oldest_use_is_first() -> None:
    found = [outputs("a", 40), outputs("b", 50), outputs("c", 10)]
    assert gone(found, older_than=30 * DAY) == ["b", "a"]


def test_the_latest_of_each_task_are_kept() -> None:
    found = [outputs("a", 9), outputs("b", 8), outputs("c", 7), outputs("d", 9, tasks={SCORE})]
    assert gone(found, keep=2) == ["a"]


def test_instances_of_a_mapped_task_are_kept_each_for_itself() -> None:
    found = [outputs(str(index), 9, tasks={("retrain", "score", index)}) for index in range(5)]
    assert gone(found, keep=1) == []


def test_outputs_that_another_task_still_keeps_stay() -> None:
    found = [outputs("a", 9, tasks={TRAIN, SCORE}), outputs("b", 8)]
    assert gone(found, keep=1) == []


def test_beyond_the_size_the_least_recently_used_go() -> None:
    found = [outputs("a", 9, size=5), outputs("b", 8, size=5), outputs("c", 7, size=5)]
    assert gone(found, max_size=12) == ["a"]
    assert gone(found, max_size=10) == ["a"]
    assert gone(found, max_size=9) == ["a", "b"]


def test_what_another_limit_takes_away_counts_no_more_for_the_size() -> None:
    found = [outputs("a", 40, size=50), outputs("b", 8, size=10)]
    assert gone(found, older_than=30 * DAY, max_size=10) == ["a"]


@pytest.mark.parametrize("limits", [{"older_than": 1.0}, {"keep": 1}, {"max_size": 0}])
def test_held_and_young_outputs_stay_whatever_the_limits_say(limits: dict[str, float]) -> None:
    found = [outputs("a", 40, held=True), outputs("b", 0.5), outputs("c", 0.4), outputs("d", 0.1)]
    assert gone(found, **limits) == []
    assert gone(found, **limits, grace=0.45 * DAY) == ["b"]


def test_the_reason_names_the_limit() -> None:
    found = [outputs("a", 40), outputs("b", 9), outputs("c", 8), outputs("d", 7)]
    assert beyond_limits(found, Limits(older_than=30 * DAY, keep=2, max_size=10), NOW) == {
        "a": "not used for too long",
        "b": "not among the 2 that its task used last",
        "c": "used least recently of more than is kept",
    }


some_outputs = st.lists(
    st.builds(
        outputs,
        st.uuids().map(str),
        st.floats(0, 100),
        size=st.integers(0, 100),
        tasks=st.sets(st.sampled_from([TRAIN, SCORE]), min_size=1),
        held=st.booleans(),
    ),
    max_size=12,
)


@given(
    some_outputs,
    st.none() | st.integers(1, 4),
    st.none() | st.integers(0, 300),
    st.none() | st.floats(0, 9e6),
)
def test_limits_are_kept_as_far_as_they_may_be(
    found: list[Outputs], keep: int | None, max_size: int | None, older_than: float | None
) -> None:
    limits = Limits(older_than=older_than, keep=keep, max_size=max_size)
    doomed = beyond_limits(found, limits, NOW)
    stays = [item for item in found if item.fingerprint not in doomed]
    free = [item for item in stays if not item.held and NOW - item.last_used >= limits.grace]
    assert not any(item.held or NOW - item.last_used < DAY for item in found if item.fingerprint in doomed)
    if older_than is not None:
        assert all(NOW - item.last_used < older_than for item in free)
    if max_size is not None and free:
        assert sum(item.size for item in stays) <= max_size
    if keep is not None:
        for item in free:
            newer = [
                sum(task in other.tasks and other.last_used > item.last_used for other in found)
                for task in item.tasks
            ]
            assert min(newer) < keep
