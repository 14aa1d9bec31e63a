"""Plans: what a run would do with each step of a DAG, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from airflow_mlpipe.pipeline.costs import rounded
from airflow_mlpipe.reuse.phrases import spent

SCHEMA_VERSION = 1

PlannedAction = Literal["reuse", "run", "unknown"]
ExpectedAction = Literal["reuse", "run", "wait"]


@dataclass(frozen=True)
class PlannedStep:
    """What a run would do with one step, or with one instance of a mapped one; else *map_index* is -1.

    - *action* is "unknown" when that depends on what only a run can tell;
    - *kinds* are those of the decision's reasons; "waits" for an unknown action, and "fails" for a step that
      could not be prepared and so would fail; *reason* has the words;
    - *waits_for*: the tasks of the DAG that must be done before the action can be told;
    - *fingerprint* is None when it is not known;
    - *expected_action* is what an unknown action would turn out to be if what the step waits for made the
      same bytes as last time; None when that is not known either, and for an action that is known;
    - *pins* are the registered versions that it would read, by input, as far as the step could be prepared;
    - *saved_seconds*, *saved_cost* are what a reuse spares; *expected_seconds*, *expected_cost* what the step
      took when it last ran, None for a reuse and when that is not known; costs also where there was no price.
    """

    task_id: str
    map_index: int
    action: PlannedAction
    kinds: tuple[str, ...]
    reason: str
    waits_for: tuple[str, ...] = ()
    fingerprint: str | None = None
    expected_action: ExpectedAction | None = None
    saved_seconds: float | None = None
    expected_seconds: float | None = None
    saved_cost: float | None = None
    expected_cost: float | None = None
    pins: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The step as ``task`` or ``task[index]``."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


@dataclass(frozen=True)
class Plan:
    """What a run of a DAG would do with each of its steps, in an order in which they may run."""

    dag_id: str
    steps: tuple[PlannedStep, ...]

    @property
    def runs_nothing(self) -> bool:
        """Whether it is certain that every step would be reused."""
        return self.count("reuse") == len(self.steps)

    def count(self, action: PlannedAction) -> int:
        """The number of steps, and instances of mapped ones, with *action*."""
        return sum(step.action == action for step in self.steps)

    @property
    def saved_seconds(self) -> float:
        """What all reuse together spares."""
        return _total(step.saved_seconds for step in self.steps)

    @property
    def expected_seconds(self) -> float:
        """What the steps that would run took when they last ran, one after the other, as far as known."""
        return _total(step.expected_seconds for step in self.steps if step.action == "run")

    @property
    def saved_cost(self) -> float | None:
        """What the same would have cost; None where nothing had a price."""
        return _cost(step.saved_cost for step in self.steps)

    @property
    def expected_cost(self) -> float | None:
        """What the steps that would run cost when they last ran, as far as known; None without any price."""
        return _cost(step.expected_cost for step in self.steps if step.action == "run")

    def summary(self) -> str:
        """The plan in a sentence: ``198 of 200 would be reused, 1 would run, 1 is not known yet``."""
        if not self.steps:
            return f"{self.dag_id} has no steps"
        run, unknown = self.count("run"), self.count("unknown")
        parts = [f"{self.count('reuse')} of {len(self.steps)} would be reused"]
        if run:
            takes = spent(self.expected_seconds, self.expected_cost)
            known = f" (about {takes})" if self.expected_seconds else ""
            parts.append(f"{run} would run{known}")
        if unknown:
            parts.append(f"{unknown} {'is' if unknown == 1 else 'are'} not known yet")
        saved = spent(self.saved_seconds, self.saved_cost)
        saves = f"; saves about {saved}" if self.saved_seconds else ""
        return ", ".join(parts) + saves

    def as_document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dag_id": self.dag_id,
            "totals": {
                "steps": len(self.steps),
                "reuse": self.count("reuse"),
                "run": self.count("run"),
                "unknown": self.count("unknown"),
                "saved_seconds": round(self.saved_seconds, 3),
                "expected_seconds": round(self.expected_seconds, 3),
                "saved_cost": rounded(self.saved_cost, 4),
                "expected_cost": rounded(self.expected_cost, 4),
            },
            "steps": [_document(step) for step in self.steps],
        }


def _document(step: PlannedStep) -> dict[str, Any]:
    numbers = {
        "saved_seconds": rounded(step.saved_seconds, 3),
        "expected_seconds": rounded(step.expected_seconds, 3),
        "saved_cost": rounded(step.saved_cost, 4),
        "expected_cost": rounded(step.expected_cost, 4),
    }
    lists = {"kinds": list(step.kinds), "waits_for": list(step.waits_for), "pins": dict(step.pins)}
    return {**asdict(step), **lists, **numbers}


def _total(values: Iterable[float | None]) -> float:
    return sum((value for value in values if value is not None), 0.0)


def _cost(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
