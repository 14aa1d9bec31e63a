from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.reuse.phrases import listing, short, span

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
