from __future__ import annotations

import pytest

from airflow_mlpipe.store.progress import Progress, readable_size


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_work_is_silent() -> None:
    said: list[str] = []
    ticks = Ticks()
    progress = Progress("hashing raw", said.append, clock=ticks)
    progress.expect(100)
    for _ in range(49):
        ticks.now += 0.1
        progress.advance(1)
    assert said == []


def test_long_work_is_told_every_five_seconds() -> None:
    said: list[str] = []
    ticks = Ticks()
    progress = Progress("hashing raw", said.append, clock=ticks)
    progress.expect(8_000_000_000)
    for _ in range(12):
        ticks.now += 1.0
        progress.advance(240_000_000)
    assert said == ["hashing raw: 1.2 GB of 8.0 GB (15 %)", "hashing raw: 2.4 GB of 8.0 GB (30 %)"]


def test_without_a_total_only_what_is_done_is_told() -> None:
    said: list[str] = []
    ticks = Ticks()
    progress = Progress("copying", said.append, clock=ticks)
    ticks.now = 6.0
    progress.advance(1500)
    assert said == ["copying: 1.5 kB"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (10**18, "1000.0 PB"),
    ],
)
def test_sizes_are_written_in_decimal_units(size: int, text: str) -> None:
    assert readable_size(size) == text
