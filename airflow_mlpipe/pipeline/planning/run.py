"""A run that has not begun: what is known of it, and what its tasks hand on as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_mlpipe.pipeline.publication import DECISION_KEY, WHOLE
from airflow_mlpipe.pipeline.publication import HandedOn as Published

_NOTHING = object()


class NotKnownYet(BaseException):
    """Something that only a run tells was asked for. *until* completes "not known until ...".

    It is no Exception: neither a template nor Airflow's report of a failed one is to take it for a mistake.
    """

    def __init__(self, until: str, task_id: str | None = None) -> None:
        super().__init__(until)
        self.until = until
        self.task_id = task_id


@dataclass(frozen=True)
class HandedOn:
    """What a task instance hands on by XCom: *values* by key.

    Unless ``certain``, this is what the task made last time, and the run may make something else. Unless
    ``supposed``, there is not even that, and the values only stand in for references to what will be made.
    """

    values: Mapping[str, Any]
    certain: bool = True
    supposed: bool = True

    @classmethod
    def of(cls, published: Published, *, certain: bool) -> HandedOn:
        """What a step publishes, as XCom then holds it: a return value of None leaves nothing there."""
        whole = {} if published.return_value is None else {WHOLE: published.return_value}
        return cls({**published.keys, **whole}, certain)


@dataclass
class PlannedRun:
    """The run of *dag* with *conf*. *logical_date* is None when only the run will have one.

    ``waits_for`` are the tasks, in the order in which they were asked, whose answers were not certain;
    ``is_supposed`` says whether all of them were at least supposed. ``params`` remembers values that were
    validated.
    """

    dag: Any
    conf: Mapping[str, Any]
    logical_date: datetime | None = None
    waits_for: dict[str, None] = field(default_factory=dict, init=False)
    is_supposed: bool = field(default=True, init=False)
    params: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    _handed_on: dict[str, dict[int, HandedOn]] = field(default_factory=dict, init=False)
    _holding: dict[str, dict[str, list[HandedOn]]] = field(default_factory=dict, init=False)
    _counts: dict[str, int] = field(default_factory=dict, init=False)

    def forget_questions(self) -> None:
        """Begin a new list of what was asked for."""
        self.waits_for = {}
        self.is_supposed = True

    def expand(self, task_id: str, count: int) -> None:
        """Say into how many instances a task is expanded."""
        self._counts[task_id] = count
        self._handed_on[task_id] = {}
        self._holding.pop(task_id, None)

    def hand_on(self, task_id: str, map_index: int, handed_on: HandedOn) -> None:
        """Say what a task instance hands on."""
        self._handed_on.setdefault(task_id, {})[map_index] = handed_on
        self._holding.pop(task_id, None)

    def count(self, task_id: str) -> int:
        """Into how many instances a task is expanded. Raises NotKnownYet."""
        if task_id not in self._counts:
            raise _until_done(task_id)
        return self._counts[task_id]

    def value(self, task_id: str, map_index: int, key: str, default: Any) -> Any:
        """What one instance of a task hands on under *key*. Raises NotKnownYet."""
        instances = self._instances(task_id)
        return self._value(task_id, instances[map_index], key, default) if map_index in instances else default

    def values(self, task_id: str, key: str) -> list[Any]:
        """What all instances of a task hand on under *key*, of those that do. Raises NotKnownYet."""
        return self.some_values(task_id, key, slice(None))

    def some_values(self, task_id: str, key: str, which: slice) -> list[Any]:
        """Those of :meth:`values` at *which* positions; only they are asked for. Raises NotKnownYet."""
        chosen = self._holders(task_id, key)[which]
        return [self._value(task_id, handed_on, key, _NOTHING) for handed_on in chosen]

    def number_of_values(self, task_id: str, key: str) -> int:
        """How many instances of a task hand on something under *key*. Raises NotKnownYet."""
        return len(self._holders(task_id, key))

    def _holders(self, task_id: str, key: str) -> list[HandedOn]:
        """What the instances with something under *key* hand on, by map index.

        It is remembered: each instance of a mapped task asks for those of the task it is mapped over.
        """
        known = self._holding.setdefault(task_id, {})
        if key not in known:
            known[key] = self._found_holders(task_id, key)
        return known[key]

    def _found_holders(self, task_id: str, key: str) -> list[HandedOn]:
        instances = self._instances(task_id)
        ordered = [instances[index] for index in sorted(instances)]
        unknown = any(not handed_on.certain and key not in handed_on.values for handed_on in ordered)
        if unknown or key == DECISION_KEY:
            raise _until_done(task_id)
        return [handed_on for handed_on in ordered if key in handed_on.values]

    def _instances(self, task_id: str) -> dict[int, HandedOn]:
        if task_id not in self._handed_on:
            raise _until_done(task_id)
        return self._handed_on[task_id]

    def _value(self, task_id: str, handed_on: HandedOn, key: str, default: Any) -> Any:
        if key == DECISION_KEY:
            raise _until_done(task_id)
        if handed_on.certain:
            return handed_on.values.get(key, default)
        if key not in handed_on.values:
            raise _until_done(task_id)
        self.waits_for[task_id] = None
        self.is_supposed = self.is_supposed and handed_on.supposed
        return handed_on.values[key]


def _until_done(task_id: str) -> NotKnownYet:
    return NotKnownYet(f"{task_id} is done", task_id)
