"""Why a step ran or was reused, as data: the recorded decision, and what differs from an earlier run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.costs import Balance, Expense, rounded
from airflow_mlpipe.reuse.code_difference import CodeDifference
from airflow_mlpipe.reuse.explain import Difference
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.store.run_record import RunRecord

SCHEMA_VERSION = 1

TOLD = "as told above"
"""The note on a cause whose changes another one has already."""

Choice = Literal[
    "asked",  # the run that was asked for
    "nearest",  # the run with the recipe that the decision compared with, because it differs least
    "latest",  # the latest earlier run of the task
    "producer",  # the run that made the outputs that were reused
]


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: a recipe, by its fingerprint, and why this one was chosen.

    ``instance`` is the task instance that had it, None when nobody knows it any more.
    """

    fingerprint: str
    instance: ProducerReference | None
    choice: Choice

    def as_document(self) -> dict[str, Any]:
        return {
            "instance": _instance(self.instance),
            "fingerprint": self.fingerprint,
            "choice": self.choice,
        }


@dataclass(frozen=True)
class Change:
    """One difference between two recipes, and what is known of how it came about.

    ``code`` is there for a file of the code; ``causes`` for an input that other steps made; ``dataset`` has
    those paths of an input that no step made which hold something else; ``versions`` is there for an input
    that is registered. ``note`` says what is not known, None when nothing is missing.
    """

    difference: Difference
    code: CodeDifference | None = None
    causes: tuple[Cause, ...] = ()
    dataset: tuple[str, ...] = ()
    versions: str | None = None
    note: str | None = None

    def as_document(self) -> dict[str, Any]:
        code = None if self.code is None else {**asdict(self.code), "names": list(self.code.names)}
        return {
            **self.difference.as_document(),
            "sentence": self.difference.sentence(),
            "code": code,
            "causes": [cause.as_document() for cause in self.causes],
            "dataset": list(self.dataset),
            "versions": self.versions,
            "note": self.note,
        }


@dataclass(frozen=True)
class Cause:
    """An output of another step that an input was made of, and that holds something else than before.

    ``made_by`` made it, ``before`` made what was there before, None when nothing was or nobody knows.
    ``changes`` are how the recipes of the two differ; where there are none, ``note`` says why.
    """

    output: str
    made_by: ProducerReference
    before: ProducerReference | None
    changes: tuple[Change, ...] = ()
    note: str | None = None

    def as_document(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "made_by": _instance(self.made_by),
            "before": _instance(self.before),
            "changes": [change.as_document() for change in self.changes],
            "note": self.note,
        }


@dataclass(frozen=True)
class Explanation:
    """Why one task instance ran its step or reused outputs.

    ``record`` holds the decision. ``baseline`` is what it is compared with, None when there is nothing;
    ``changes`` are all differences from it, ``equal_parts`` the parts of the recipe that are as they were.
    ``note`` says what stands in the way of a comparison; then ``changes`` and ``equal_parts`` are empty and
    say nothing.
    """

    record: RunRecord
    baseline: Baseline | None = None
    changes: tuple[Change, ...] = ()
    equal_parts: tuple[str, ...] = ()
    note: str | None = None

    @property
    def verdict(self) -> str:
        """What was decided and why, in a sentence."""
        return f"{self.record.step} {self.record.sentence()}"

    @property
    def took(self) -> str | None:
        """What running the step cost, and what machines lost of it, in a sentence; None for neither.

        What a reuse saved is among the reasons of the verdict.
        """
        balance = replace(Balance.of([self.record]), saved=Expense())
        is_worth_a_word = balance.ran.cost is not None or self.record.lost_seconds is not None
        return f"It {balance.sentence()}." if is_worth_a_word else None

    @property
    def roots(self) -> tuple[str, ...]:
        """Where the changes of inputs began: other steps, each with what changed of its own."""
        return tuple(dict.fromkeys(_roots(self.changes)))

    def as_document(self) -> dict[str, Any]:
        """All of it as JSON."""
        record = self.record
        return {
            "schema_version": SCHEMA_VERSION,
            **record.instance.model_dump(mode="json"),
            "try_number": record.try_number,
            "verdict": self.verdict,
            "action": record.action,
            "status": record.status,
            "sealed": record.sealed,
            "reasons": [reason.model_dump(mode="json") for reason in record.reasons],
            "fingerprint": record.fingerprint,
            "producer": _instance(record.producer),
            "decided_at": record.decided_at,
            "seconds": record.seconds,
            "cost": rounded(record.cost, 4),
            "saved_seconds": record.saved_seconds,
            "saved_cost": rounded(record.saved_cost, 4),
            "lost_seconds": record.lost_seconds,
            "lost_cost": rounded(record.lost_cost, 4),
            "baseline": None if self.baseline is None else self.baseline.as_document(),
            "changes": [change.as_document() for change in self.changes],
            "equal_parts": list(self.equal_parts),
            "roots": list(self.roots),
            "note": self.note,
        }


def _roots(changes: tuple[Change, ...]) -> Iterator[str]:
    for cause in (cause for change in changes for cause in change.causes):
        own = [change.difference.sentence() for change in cause.changes if not change.causes]
        if own or cause.note not in (None, TOLD):
            yield f"{cause.made_by}: {listing(own) if own else cause.note}"
        yield from _roots(cause.changes)


def _instance(instance: ProducerReference | None) -> dict[str, Any] | None:
    return None if instance is None else instance.model_dump(mode="json")
