"""What a mapped task hands on, instance by instance: also the instances that handed on nothing."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from airflow.sdk import TaskInstanceState
from airflow.sdk.definitions._internal.types import is_arg_set
from airflow.sdk.definitions.xcom_arg import PlainXComArg, _ConcatResult, _MapResult, _ZipResult
from airflow.sdk.exceptions import XComNotFound
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.pipeline.xcom import is_usable_key
from airflow_mlpipe.reuse.phrases import listing

log = logging.getLogger(__name__)

# How the states of instances without a result are told, as far as their names do not say it themselves.
_REASONS: dict[str | None, str] = {TaskInstanceState.SUCCESS: "returned nothing", None: "has not run"}
_ALL_BUT_REMOVED = [
    "null",
    *(state.value for state in TaskInstanceState if state != TaskInstanceState.REMOVED),
]


class Missing(Enum):
    """The type of :data:`MISSING`; an enumeration, so that copies of it are itself."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return self.name


MISSING = Missing.MISSING
"""Stands for the result of a mapped task instance that handed on nothing."""


def aligned(value: Any, context: Any) -> Any:
    """*value*, a rendered template, with the results of mapped tasks as lists that keep their map indexes.

    Such a list has one entry for each instance, MISSING where the instance failed, was skipped or returned
    nothing; which those are is logged. What ``.map()``, ``.zip()`` and ``.concat()`` make of results becomes
    a list as well: a mapped MISSING stays MISSING, a tuple of a zip is of one index, and a concatenation has
    the indexes of its parts one after the other. Lists, tuples and dicts are searched; anything else is
    returned as it is.

    Raises UserError for a concatenation in which nobody knows how many results a part would have had.
    """
    if isinstance(value, LazyXComSequence):
        return _Instances(value, context["ti"]).results()
    if isinstance(value, _MapResult):
        return _mapped(aligned(value.value, context), value)
    if isinstance(value, _ZipResult):
        parts = [_as_list(aligned(part, context)) for part in value.values]
        if is_arg_set(value.fillvalue):
            return list(itertools.zip_longest(*parts, fillvalue=value.fillvalue))
        return list(zip(*parts, strict=False))
    if isinstance(value, _ConcatResult):
        return [item for part in value.values for item in _part(part, context)]
    if type(value) in (list, tuple):
        return type(value)(aligned(item, context) for item in value)
    if type(value) is dict:
        return {key: aligned(item, context) for key, item in value.items()}
    return value


def resolved(argument: Any, context: Any) -> Any:
    """What the XComArg *argument* resolves to in *context*, :func:`aligned`.

    Results of a task in a mapped task group become such a list too, when the reader is outside of the group.
    Airflow itself hands on a plain list there, and one bare value if the group has one instance.

    A result of a task that handed on nothing at all, because it was skipped for one, is None, as its return
    value is; so is a result that is None. Raises XComNotFound for one that the task does not have.
    """
    if _collects_a_group(argument, context["ti"]):
        return _Instances(LazyXComSequence(xcom_arg=argument, ti=context["ti"]), context["ti"]).results()
    if isinstance(argument, PlainXComArg) and not is_usable_key(argument.key):
        return _of_whole(argument, context)
    try:
        return aligned(argument.resolve(context), context)
    except XComNotFound:
        if isinstance(argument, PlainXComArg):
            return _of_whole(argument, context)
        raise


def _of_whole(argument: PlainXComArg, context: Any) -> Any:
    """The result as a part of all that its task returned."""
    whole = PlainXComArg(argument.operator).resolve(context)
    if whole is None:
        return None
    if isinstance(whole, Mapping) and argument.key in whole:
        return whole[argument.key]
    raise XComNotFound(context["ti"].dag_id, argument.operator.task_id, argument.key)


class _Instances:
    """The instances of the task that a lazy sequence is of.

    Once :meth:`results` has found none, ``unexpanded`` is the state of the task itself.
    """

    def __init__(self, sequence: LazyXComSequence[Any], ti: Any) -> None:
        self._sequence = sequence
        self._ti = ti
        # The task SDK names no public way to what a sequence is of.
        argument = sequence._xcom_arg
        self._key = argument.key
        self.task_id: str = argument.operator.task_id
        self.unexpanded: str | None = None
        self._of_task: dict[str, Any] = {
            "dag_id": argument.operator.dag_id,
            "task_ids": [self.task_id],
            "run_ids": [ti.run_id],
        }

    def results(self) -> list[Any]:
        """One entry for each instance, in the order of the map indexes."""
        handed_on = list(self._sequence[:])
        # Values come without their indexes. These are certain when there is one value for each instance, and
        # no instance that Airflow has taken away, whose value may still be there.
        if len(handed_on) == self._count() == self._count(_ALL_BUT_REMOVED):
            return handed_on
        return self._found(handed_on)

    def _found(self, handed_on: Sequence[Any]) -> list[Any]:
        """The same, when it has to be found out which instances the values are of."""
        states = self._states()
        in_doubt = [index for index, state in states.items() if state != TaskInstanceState.SUCCESS]
        absent = {index for index, value in self._pulled(in_doubt).items() if value is MISSING}
        present = [index for index in states if index not in absent]
        # Few instances fail, as a rule; so only when one of the others is without a value, all are asked for.
        found = (
            dict(zip(present, handed_on, strict=True))
            if len(present) == len(handed_on)
            else self._pulled(list(states))
        )
        results = {
            index: found.get(index, MISSING)
            for index, state in states.items()
            if state != TaskInstanceState.REMOVED
        }
        self._say_what_is_missing(results, states)
        return list(results.values())

    def _count(self, states: list[str] | None = None) -> int:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        return RuntimeTaskInstance.get_ti_count(**self._of_task, states=states)

    def _states(self) -> dict[int, str | None]:
        """The states of all instances by map index, in the order of the indexes."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        by_run = RuntimeTaskInstance.get_task_states(**self._of_task)
        states: dict[str, str | None] = next(iter(by_run.values()), {})
        if self.task_id in states:  # it stands for its instances until there are some
            self.unexpanded = states.pop(self.task_id) or "waiting"
        return dict(sorted((int(name.rpartition("_")[2]), state) for name, state in states.items()))

    def _pulled(self, indexes: list[int]) -> dict[int, Any]:
        """What these instances handed on; MISSING for nothing. Each costs a request."""
        values = self._ti.xcom_pull(
            task_ids=self.task_id, key=self._key, map_indexes=indexes, default=MISSING
        )
        return dict(zip(indexes, values, strict=True))

    def _say_what_is_missing(self, results: Mapping[int, Any], states: Mapping[int, str | None]) -> None:
        missing = [index for index, value in results.items() if value is MISSING]
        if not results:
            log.warning("There are no results of %s: it is %s, not expanded", self.task_id, self.unexpanded)
        if missing:
            log.warning(
                "Results of %s are missing for %d of %d instances: %s",
                self.task_id,
                len(missing),
                len(results),
                listing([f"{index} {_REASONS.get(states[index], states[index])}" for index in missing], 20),
            )


def _collects_a_group(argument: Any, ti: Any) -> bool:
    """Whether *argument* is of a task in a mapped task group that *ti* is not in."""
    if not isinstance(argument, PlainXComArg) or argument.operator.is_mapped:
        return False
    if argument.operator.get_closest_mapped_task_group() is None:
        return False
    own = ti.get_relevant_upstream_map_indexes(upstream=argument.operator, ti_count=None, session=None)
    return own is None


def _mapped(values: Any, result: _MapResult) -> Any:
    """The *values* below *result*, put through its functions."""
    if not isinstance(values, list):
        return result
    return [MISSING if value is MISSING else _applied(result.callables, value) for value in values]


def _applied(functions: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for function in functions:
        value = function(value)
    return value


def _part(value: Any, context: Any) -> list[Any]:
    """A part of a concatenation, whose length decides on the indexes of all that follow."""
    if not isinstance(value, LazyXComSequence):
        return _as_list(aligned(value, context))
    instances = _Instances(value, context["ti"])
    results = instances.results()
    if instances.unexpanded not in (None, TaskInstanceState.SKIPPED):
        raise UserError(
            f"the results of {instances.task_id} cannot be put in a row with others: it is "
            f"{instances.unexpanded} and was not expanded, so nobody knows how many there would be; clear it "
            "and run it again"
        )
    return results


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else list(value)
