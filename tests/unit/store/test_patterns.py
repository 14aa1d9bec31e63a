"""Which paths a pattern means."""

from __future__ import annotations

import pytest

from airflow_mlpipe.store.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a.csv"),
        ("*.csv", "a.csv"),
        ("a.[ct]sv", "a.csv"),
        ("?.csv", "a.csv"),
        ("day/*", "day/a.csv"),
        ("*/*.csv", "day/a.csv"),
        ("**/*.csv", "a.csv"),
        ("**/*.csv", "day/hour/a.csv"),
        ("day/**/a.csv", "day/a.csv"),
        ("day/**/a.csv", "day/hour/minute/a.csv"),
        ("**", "day/hour/a.csv"),
        ("day/**", "day/hour/a.csv"),
        (".*", ".hidden"),
        ("**/.hidden/*", "day/.hidden/a.csv"),
    ],
)
def test_a_pattern_matches(pattern: str, path: str) -> None:
    assert matches(path, pattern)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "day/a.csv"),
        ("*.csv", "day/a.csv"),
        ("*.csv", "a.tsv"),
        ("*.csv", "a.CSV"),
        ("day/*", "day/hour/a.csv"),
        ("day/**/a.csv", "other/a.csv"),
        ("**/*.csv", "day/a.tsv"),
        ("*", ".hidden"),
        ("**", "day/.hidden"),
        ("**/*.csv", ".hidden/a.csv"),
        ("a.csv/*", "a.csv"),
        ("**/a.csv/**", "day/a.csv"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not matches(path, pattern)
