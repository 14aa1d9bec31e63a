"""Which sealed outputs are to go: a function from when they were used and how large they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from airflow_mlpipe.store.garbage.census import Task

DAY = 86400.0

Kind = Literal["outputs", "lease", "attempt", "model", "snapshot", "record", "note", "temporary", "folder"]


@dataclass(frozen=True)
class Limits:
    """What may stay, at most; None is no limit. Outputs go when any of the limits says so.

    - *grace*: seconds for which everything stays after its last use, whatever the other limits say;
    - *older_than*: seconds since the last use of outputs, and of the run records of outputs that are gone;
    - *keep*: the number of outputs of a task (and map index), the latest used;
    - *max_size*: the bytes of all outputs together; the least recently used go first.
    """

    grace: float = DAY
    older_than: float | None = None
    keep: int | None = None
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that may go: its name (a fingerprint, an attempt, a digest or a key), bytes, and why.

    *step* is the task instance that it comes from, "" when that cannot be told; *last_used* is in seconds
    since the epoch, None when it is not known.
    """

    kind: Kind
    name: str
    size: int
    why: str
    step: str = ""
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Sealed outputs as the limits see them; *held* ones stay, for somebody works with them."""

    fingerprint: str
    size: int
    last_used: float
    tasks: tuple[Task, ...]
    held: bool


def beyond_limits(outputs: Iterable[Outputs], limits: Limits, now: float) -> Mapping[str, str]:
    """The fingerprints of the *outputs* that are to go, with the reason in a few words; oldest use first.

    Outputs that several tasks have used go by ``keep`` when none of these tasks keeps them.
    """
    by_use = sorted(outputs, key=lambda item: (item.last_used, item.fingerprint))
    free = [item for item in by_use if not item.held and now - item.last_used >= limits.grace]
    reasons: dict[str, str] = {}
    for why, candidates in (
        ("not used for too long", _too_old(free, limits, now)),
        (f"not among the {limits.keep} that its task used last", _too_many(by_use, free, limits)),
    ):
        for item in candidates:
            reasons.setdefault(item.fingerprint, why)
    total = sum(item.size for item in by_use if item.fingerprint not in reasons)
    for item in free:
        if limits.max_size is None or total <= limits.max_size:
            break
        if item.fingerprint not in reasons:
            reasons[item.fingerprint] = "used least recently of more than is kept"
            total -= item.size
    return {item.fingerprint: reasons[item.fingerprint] for item in free if item.fingerprint in reasons}


def _too_old(free: Iterable[Outputs], limits: Limits, now: float) -> Iterator[Outputs]:
    if limits.older_than is not None:
        yield from (item for item in free if now - item.last_used >= limits.older_than)


def _too_many(by_use: list[Outputs], free: Iterable[Outputs], limits: Limits) -> Iterator[Outputs]:
    if limits.keep is None:
        return
    kept: set[str] = set()
    counts: dict[Task, int] = defaultdict(int)
    for item in reversed(by_use):
        if any(counts[task] < limits.keep for task in item.tasks):
            kept.add(item.fingerprint)
        for task in item.tasks:
            counts[task] += 1
    yield from (item for item in free if item.fingerprint not in kept)
