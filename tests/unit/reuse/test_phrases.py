from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.reuse.phrases import amount, by_reason, indexes, listing, short, span, spent

HEX = "1a2b" + 60 * "0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (41, "41 s"),
        (60, "1 min"),
        (3540, "59 min"),
        (7200, "2 h"),
        (86400, "1 d"),
        (37 * 3600, "1.5 d"),
        (3 * 86400, "3 d"),
    ],
)
def test_a_span_has_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("cost", "text"),
    [(0.0, "0.00"), (0.004, "under 0.01"), (0.01, "0.01"), (6.5, "6.50"), (1234.567, "1234.57")],
)
def test_an_amount_has_two_decimals(cost: float, text: str) -> None:
    assert amount(cost) == text


@pytest.mark.parametrize(("cost", "text"), [(None, "2 h"), (0.0, "2 h"), (6.5, "2 h and 6.50 of compute")])
def test_what_running_takes_has_a_cost_where_it_has_a_price(cost: float | None, text: str) -> None:
    assert spent(7200, cost) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (HEX, "1a2b..."),
        (f"python:{HEX}", "1a2b..."),
        (f"sha256:{HEX}", "1a2b..."),
        (f"a much longer beginning:{HEX}", f"a much longer beginning:{HEX}"[:57] + "..."),
        (HEX.replace("a", "x"), HEX.replace("a", "x")[:57] + "..."),
        ("0.1", "0.1"),
        (0.1, "0.1"),
        (None, "None"),
        (60 * "x", 60 * "x"),
        (61 * "x", 57 * "x" + "..."),
    ],
)
def test_a_value_is_short_in_a_sentence(value: Any, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b and 1 more")],
)
def test_a_listing_tells_how_many_it_leaves_out(items: list[str], text: str) -> None:
    assert listing(items, limit=2) == text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], ""),
        ([3], "[3]"),
        ([0, 1], "[0..1]"),
        ([20, 17, 21, 22], "[17], [20..22]"),
        ([0, 2, 4, 6, 8, 10, 12, 14], "[0], [2], [4], [6], [8], [10] and 2 more"),
    ],
)
def test_neighbouring_indexes_are_told_as_one(found: list[int], said: str) -> None:
    assert indexes(found) == said


def test_instances_that_are_alike_share_a_line_and_the_first_speaks_for_them() -> None:
    told = by_reason([(0, "a", "ran"), (1, "b", "reused of 1"), (2, "b", "reused of 2"), (3, "a", "ran")])
    assert list(told) == ["[0], [3]: ran", "[1..2], the first: reused of 1"]


def test_beyond_the_most_lines_the_number_of_instances_is_told() -> None:
    assert list(by_reason([(index, index // 2, "x") for index in range(7)], most=2)) == [
        "[0..1]: x",
        "[2..3]: x",
        "3 more for other reasons",
    ]
