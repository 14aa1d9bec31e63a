"""How quantities are spoken of in reasons."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def span(seconds: float) -> str:
    """A length of time in one unit, to two digits or so: ``0.4 s``, ``41 s``, ``2 h``, ``1.5 d``."""
    unit, size = next((item for item in _UNITS if seconds >= item[1]), ("s", 1))
    count = seconds / size
    return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f}".removesuffix(".0") + f" {unit}"


def spent(seconds: float, cost: float | None) -> str:
    """What running takes: ``2.2 h``, or with a price ``2.2 h and 6.50 of compute``."""
    return f"{span(seconds)} and {amount(cost)} of compute" if cost else span(seconds)


def amount(cost: float) -> str:
    """An amount of money, in whatever currency: ``6.50``."""
    return f"{cost:.2f}" if cost >= 0.01 or cost == 0 else "under 0.01"


def short(value: Any) -> str:
    """A value as it appears in a sentence: as :func:`full` has it, long texts cut."""
    text = full(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def full(value: Any) -> str:
    """A value with nothing left out, except that digests are told by their first four digits."""
    text = value if isinstance(value, str) else repr(value)
    kind, _, rest = text.rpartition(":")
    if len(rest) == 64 and all(character in "0123456789abcdef" for character in rest) and len(kind) < 12:
        return f"{rest[:4]}..."
    return text


def listing(items: Sequence[str], limit: int = 6) -> str:
    """Items joined by commas; beyond *limit* only their number is told."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


def indexes(of: Iterable[int], limit: int = 6) -> str:
    """Map indexes as instances are named, neighbours as one: ``[17], [20..39]``; cut as a listing is."""
    runs: list[list[int]] = []
    for index in sorted(of):
        if runs and runs[-1][-1] + 1 == index:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    return listing([f"[{'..'.join(map(str, run))}]" for run in runs], limit)


def by_reason(instances: Iterable[tuple[int, Hashable, str]], most: int = 5) -> Iterator[str]:
    """Which instances of a mapped step have which reason, a line for those that are alike.

    An instance is its map index, what makes it alike to others, and its reason. Beyond *most* lines only the
    number of instances is told.
    """
    alike: dict[Hashable, dict[int, str]] = {}
    for index, kind, reason in instances:
        alike.setdefault(kind, {})[index] = reason
    for reasons in list(alike.values())[:most]:
        first, *others = dict.fromkeys(reasons.values())
        yield f"{indexes(reasons)}{', the first' if others else ''}: {first}"
    if left := sum(map(len, list(alike.values())[most:])):
        yield f"{left} more for other reasons"
