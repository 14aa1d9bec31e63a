"""The decision whether a step's outputs are reused, and why: a function from records to a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from airflow_mlpipe.reuse.explain import Difference
from airflow_mlpipe.reuse.phrases import listing, span, spent

ReuseMode = Literal["normal", "refresh", "bypass", "read_only"]
REUSE_MODES: tuple[str, ...] = get_args(ReuseMode)

# Of each mode: whether it reuses, and whether it stores.
_ALLOWS: dict[ReuseMode, tuple[bool, bool]] = {
    "normal": (True, True),
    "refresh": (False, True),
    "bypass": (False, False),
    "read_only": (True, False),
}
_MODES = {allowed: mode for mode, allowed in _ALLOWS.items()}

ReasonKind = Literal[
    "reused",  # verified outputs of the same recipe exist
    "refresh",  # the run, or the step, was told to compute anew and to store
    "bypass",  # the run was told neither to reuse nor to store
    "not_allowed",  # the step must not be reused
    "undetermined",  # a part of the recipe is not known, so no earlier output can be trusted
    "unusable",  # outputs exist, but are damaged or cannot be read
    "too_old",  # outputs exist, but are older than allowed
    "changed",  # the recipe differs from the nearest earlier one
    "invalidated",  # somebody took the outputs out of use
    "gone",  # this very recipe ran before; its outputs are not there any more
    "first",  # nothing of this step is known
]


@dataclass(frozen=True)
class Reason:
    """Why, in a few words that stand after a colon; ``kind`` is for programs."""

    kind: ReasonKind
    text: str


@dataclass(frozen=True)
class Candidate:
    """Verified outputs of the same recipe: who made them, when (epoch seconds), and what that took.

    ``cost`` is None when running the step had no price.
    """

    producer: str
    sealed_at: float
    seconds: float
    cost: float | None = None


@dataclass(frozen=True)
class Switch:
    """A mode, and who asks for it, as a sentence on it begins."""

    mode: ReuseMode
    by: str


@dataclass(frozen=True)
class Policy:
    """What the step's author, its run and the deployment ask for.

    Each of ``switches`` can only take away: nothing is reused that one of them forbids to reuse, nothing
    stored that one forbids to store. ``why_not_allowed`` is why the step may not be reused at all, in a few
    words, None when it may. ``max_age`` is in seconds, None for any age; ``max_age_name`` is what its author
    knows it by.
    """

    switches: tuple[Switch, ...] = ()
    why_not_allowed: str | None = None
    max_age: float | None = None
    max_age_name: str = "max_age"

    @property
    def mode(self) -> ReuseMode:
        """The one mode that all switches together amount to."""
        allowed = [_ALLOWS[switch.mode] for switch in self.switches]
        return _MODES[all(reuses for reuses, _ in allowed), all(stores for _, stores in allowed)]

    @property
    def why_not_stored(self) -> str | None:
        """Why outputs are not kept for reuse, in a few words; None when they are."""
        against = (switch for switch in self.switches if not _ALLOWS[switch.mode][1])
        return next((f"{switch.by} says {switch.mode}" for switch in against), None)


@dataclass(frozen=True)
class Evidence:
    """What was found: outputs, what speaks against them, and how the recipe differs from an earlier one.

    ``undetermined`` are sentences on parts of the recipe that could not be determined; ``problems`` on
    outputs that exist but cannot be used; ``invalidated`` is who took outputs out of use, None for nobody.
    ``changes`` is None when no earlier recipe of the step is known, empty when an equal one is. ``remarks``
    are sentences on inputs that explain changes further.
    """

    candidate: Candidate | None = None
    undetermined: Sequence[str] = ()
    problems: Sequence[str] = ()
    invalidated: str | None = None
    changes: Sequence[Difference] | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Decision:
    """Reuse or run, with reasons; ``saved_seconds`` is what a reuse spares, None for a run.

    ``saved_cost`` is what these had cost, None as well when running the step had no price.
    """

    action: Literal["reuse", "run"]
    reasons: tuple[Reason, ...]
    saved_seconds: float | None = None
    saved_cost: float | None = None

    @property
    def why(self) -> str:
        """All reasons in a few words."""
        return "; ".join(reason.text for reason in self.reasons)

    def sentence(self) -> str:
        """The one line for the log."""
        return f"reused {self.why}" if self.action == "reuse" else f"running: {self.why}"


def decide(policy: Policy, evidence: Evidence, now: float) -> Decision:
    """Whether to reuse, from what is allowed and what was found; *now* in epoch seconds.

    Anything in doubt is a run.
    """
    candidate = evidence.candidate
    if against := reasons_against(policy, evidence.undetermined):
        return Decision("run", against)
    if evidence.problems:
        return Decision("run", tuple(Reason("unusable", text) for text in evidence.problems))
    if candidate is None and evidence.invalidated is not None:
        return Decision("run", (Reason("invalidated", evidence.invalidated),))
    if candidate is None:
        return Decision("run", (_why_nothing_was_found(evidence),))
    if policy.max_age is not None and is_too_old(policy, candidate.sealed_at, now):
        age, limit = span(now - candidate.sealed_at), span(policy.max_age)
        text = f"outputs of {candidate.producer} are {age} old, {policy.max_age_name} is {limit}"
        return Decision("run", (Reason("too_old", text),))
    return _reuse(candidate, now)


def reasons_against(policy: Policy, undetermined: Sequence[str]) -> tuple[Reason, ...]:
    """What forbids reuse whatever may be stored; empty when that is worth a look."""
    return (
        *_from_policy(policy),
        *(Reason("undetermined", text) for text in undetermined),
    )


def is_too_old(policy: Policy, sealed_at: float, now: float) -> bool:
    """Whether outputs sealed at *sealed_at* are older than allowed; both in epoch seconds."""
    return policy.max_age is not None and now - sealed_at > policy.max_age


def _reuse(candidate: Candidate, now: float) -> Decision:
    age = max(0.0, now - candidate.sealed_at)
    saves = spent(candidate.seconds, candidate.cost)
    text = f"outputs of {candidate.producer}, made {span(age)} ago, saves {saves}"
    return Decision("reuse", (Reason("reused", text),), candidate.seconds, candidate.cost)


def _from_policy(policy: Policy) -> Iterator[Reason]:
    for switch in policy.switches:
        if switch.mode == "refresh":
            yield Reason("refresh", f"{switch.by} asks for a refresh")
        if switch.mode == "bypass":
            yield Reason("bypass", f"{switch.by} bypasses reuse")
    if policy.why_not_allowed is not None:
        yield Reason("not_allowed", policy.why_not_allowed)


def _why_nothing_was_found(evidence: Evidence) -> Reason:
    changes = evidence.changes
    if changes is None:
        return Reason("first", "no earlier outputs of this step are in the datastore")
    if not changes:
        return Reason("gone", "nothing changed, but the outputs are no longer in the datastore")
    told = [listing([change.sentence() for change in changes]), *evidence.remarks]
    return Reason("changed", "; ".join(told))
