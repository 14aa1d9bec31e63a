"""The decision whether a step's outputs are reused, and why: a function from records to a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from airflow_mlpipe.reuse.explain import Difference
from airflow_mlpipe.reuse.phrases import listing, span

ReuseMode = Literal["normal", "refresh", "bypass", "read_only"]
REUSE_MODES: tuple[str, ...] = get_args(ReuseMode)

ReasonKind = Literal[
    "reused",  # verified outputs of the same recipe exist
    "refresh",  # the run, or the step, was told to compute anew and to store
    "bypass",  # the run was told neither to reuse nor to store
    "not_allowed",  # the step must not be reused
    "undetermined",  # a part of the recipe is not known, so no earlier output can be trusted
    "unusable",  # outputs exist, but are damaged or cannot be read
    "too_old",  # outputs exist, but are older than allowed
    "changed",  # the recipe differs from the nearest earlier one
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
    """Verified outputs of the same recipe: who made them, when (epoch seconds), and what that took."""

    producer: str
    sealed_at: float
    seconds: float


@dataclass(frozen=True)
class Policy:
    """What the step's author and the run's configuration ask for.

    ``why_not_allowed`` is None when reuse is allowed, else the reason in a few words.
    ``max_age`` is in seconds, None for any age.
    """

    mode: ReuseMode = "normal"
    mode_origin: str = "the run's configuration"
    why_not_allowed: str | None = None
    max_age: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What was found: outputs, what speaks against them, and how the recipe differs from an earlier one.

    ``undetermined`` are sentences on parts of the recipe that could not be determined; ``problems`` on
    outputs that exist but cannot be used. ``changes`` is None when no earlier recipe of the step is
    known, empty when an equal one is.
    """

    candidate: Candidate | None = None
    undetermined: Sequence[str] = ()
    problems: Sequence[str] = ()
    changes: Sequence[Difference] | None = None


@dataclass(frozen=True)
class Decision:
    """Reuse or run, with reasons; ``saved_seconds`` is what a reuse spares, None for a run."""

    action: Literal["reuse", "run"]
    reasons: tuple[Reason, ...]
    saved_seconds: float | None = None

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
    against = [*_from_policy(policy), *(Reason("undetermined", text) for text in evidence.undetermined)]
    if against:
        return Decision("run", tuple(against))
    if evidence.problems:
        return Decision("run", tuple(Reason("unusable", text) for text in evidence.problems))
    if candidate is None:
        return Decision("run", (_why_nothing_was_found(evidence.changes),))
    age = now - candidate.sealed_at
    if policy.max_age is not None and age > policy.max_age:
        text = f"outputs of {candidate.producer} are {span(age)} old, max_age is {span(policy.max_age)}"
        return Decision("run", (Reason("too_old", text),))
    return _reuse(candidate, now)


def _reuse(candidate: Candidate, now: float) -> Decision:
    age = max(0.0, now - candidate.sealed_at)
    text = f"outputs of {candidate.producer}, made {span(age)} ago, saves {span(candidate.seconds)}"
    return Decision("reuse", (Reason("reused", text),), saved_seconds=candidate.seconds)


def _from_policy(policy: Policy) -> list[Reason]:
    reasons = []
    if policy.mode == "refresh":
        reasons.append(Reason("refresh", f"{policy.mode_origin} asks for a refresh"))
    if policy.mode == "bypass":
        reasons.append(Reason("bypass", f"{policy.mode_origin} bypasses reuse"))
    if policy.why_not_allowed is not None:
        reasons.append(Reason("not_allowed", policy.why_not_allowed))
    return reasons


def _why_nothing_was_found(changes: Sequence[Difference] | None) -> Reason:
    if changes is None:
        return Reason("first", "no earlier outputs of this step are in the datastore")
    if not changes:
        return Reason("gone", "nothing changed, but the outputs are no longer in the datastore")
    return Reason("changed", listing([change.sentence() for change in changes]))
