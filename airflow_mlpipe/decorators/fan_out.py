"""Fan-out: lists to map over, and tasks mapped over long lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow.sdk import TaskGroup, TriggerRule
from airflow.sdk.bases.decorator import _TaskDecorator
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_mlpipe.decorators.step import StepDecorator
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.inputs import DataInput
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.operators.chunks import ChunkItems, ChunksEnd
from airflow_mlpipe.operators.files import ListFiles
from airflow_mlpipe.pipeline.expansion import longest_expansion
from airflow_mlpipe.pipeline.functions.values import leaves

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from airflow_mlpipe.decorators.typing import MappableStep, StepResult
    from airflow_mlpipe.model.reference import PipelineDataReference

R = TypeVar("R")


def files_in(
    folder: XComArg | StepOutput | PipelineDataReference,
    pattern: str = "*",
    *,
    task_id: str | None = None,
    allow_empty: bool = False,
    **kwargs: Any,
) -> StepResult[list[PipelineDataReference]]:
    """Add a task that lists the files of *folder*, and return the list, to be mapped over.

    Each item is the reference to one file that matches *pattern*; see
    :class:`~airflow_mlpipe.operators.files.ListFiles`. Further keywords are those of any task. Raises
    DefinitionError for what is no folder of a step.
    """
    if task_id is None:
        task_id = f"files_in_{_name_of(folder)}"
    task = ListFiles(folder=folder, pattern=pattern, allow_empty=allow_empty, task_id=task_id, **kwargs)
    return cast("StepResult[list[PipelineDataReference]]", task.output)


def expand_in_chunks(
    step_function: MappableStep[R],
    size: int,
    kwargs: Sequence[Mapping[str, Any]] | None = None,
    /,
    **mapped: Sequence[Any],
) -> StepResult[list[R]]:
    """Map *step_function* over a list that is longer than is good for one mapped task.

    ``expand_in_chunks(train, 200, lr=rates)`` is to a long list what ``train.expand(lr=rates)`` is to a short
    one; a list of dicts after the *size* takes the place of ``expand_kwargs()``. The list must be known while
    the DAG is parsed. The result has the map indexes of the whole list.

    A task group holds one mapped task for every *size* items. Each begins, and is expanded, when the one
    before it is done, also when instances of that failed. As with ``expand()``, those fail the run unless a
    task that reads the results takes them as they are.

    Raises DefinitionError for a wrong *size*, an empty list or several, and items that wait for the run.
    """
    function = _checked_function(step_function)
    who = f"step {function.kwargs['task_id']!r}"
    name, items = _only_list(who, kwargs, mapped)
    _check_size(who, size)
    _refuse_what_waits(who, items)
    if isinstance(function, StepDecorator):
        function.check_mapped(items if name is None else {name: items})
    with TaskGroup(function.kwargs["task_id"], add_suffix_on_collision=True) as group:
        # Over is over. A chunk itself keeps the rule by which it heeds its other upstream tasks.
        over = TriggerRule.ALL_SUCCESS if group.dag.fail_fast else TriggerRule.ALL_DONE
        first, *rest = _one_after_the_other(function, name, items, size, over)
    result: StepResult[list[R]] = first.concat(*rest)
    return result


def _one_after_the_other(
    function: _TaskDecorator[Any, Any, Any],
    name: str | None,
    items: Sequence[Any],
    size: int,
    over: TriggerRule,
) -> list[Any]:
    """The results of *function* expanded over *size* of *items* at a time, each when the last are *over*.

    Items are values of the parameter *name*; when that is None, each is a dict of parameters.
    """
    results: list[Any] = []
    for number, start in enumerate(range(0, len(items), size), start=1):
        positions = ChunkItems(
            task_id=f"items_{number}",
            start=start,
            stop=min(start + size, len(items)),
            trigger_rule=over,
        )
        if results:
            results[-1] >> positions
        mapped = positions.output.map(lambda position: items[position])
        part = function.override(task_id=f"chunk_{number}")
        results.append(part.expand_kwargs(mapped) if name is None else part.expand(**{name: mapped}))
    results >> ChunksEnd(task_id="all_chunks")
    return results


def _checked_function(step_function: Any) -> _TaskDecorator[Any, Any, Any]:
    if isinstance(step_function, _TaskDecorator):
        return step_function
    raise DefinitionError(
        f"expand_in_chunks maps a function under @step, or what its partial() returns, not {step_function!r}"
    )


def _only_list(
    who: str, kwargs: Sequence[Mapping[str, Any]] | None, mapped: Mapping[str, Any]
) -> tuple[str | None, Sequence[Any]]:
    """The one list to map over, and the parameter that it is for; None for a list of dicts."""
    lists = [*([] if kwargs is None else [(None, kwargs)]), *mapped.items()]
    if len(lists) != 1:
        raise DefinitionError(
            f"{who}: expand_in_chunks maps over one list, and was given {len(lists)}; for several "
            "parameters, give one list of dicts after the size"
        )
    name, items = lists[0]
    what = "its list of dicts" if name is None else name
    if not isinstance(items, (list, tuple)):
        raise DefinitionError(
            f"{who}: {what} is {items!r}, and expand_in_chunks divides a list that is known while the DAG is "
            "parsed; map over what a task returns with expand()"
        )
    if not items:
        raise DefinitionError(
            f"{who} is mapped over {what}, which is empty; give it items, or leave the step out"
        )
    return name, items


def _check_size(who: str, size: object) -> None:
    limit = longest_expansion()
    if type(size) is not int or not 1 <= size <= limit:
        raise DefinitionError(
            f"{who}: the size of a chunk is {size!r}; it must be a whole number from 1 to {limit}, which is "
            "[core] max_map_length"
        )


def _refuse_what_waits(who: str, items: Sequence[Any]) -> None:
    """Refuse what only a run tells: items are looked up in their turn, too late for edges and templates."""
    if later := [leaf for leaf in leaves(items) if _is_known_later(leaf)]:
        raise DefinitionError(
            f"{who}: among the items of expand_in_chunks is {later[0]!r}, which only a run tells; pass what "
            "all instances have in common by partial(), or map with expand()"
        )


def _is_known_later(leaf: Any) -> bool:
    if isinstance(leaf, str):
        return "{{" in leaf or "{%" in leaf
    source = leaf.source if isinstance(leaf, DataInput) else leaf
    return isinstance(source, (StepOutput, PipelineParameter, ResolveMixin))


def _name_of(folder: Any) -> str:
    """What a folder is called, for the id of the task that lists it."""
    if (name := getattr(folder, "name", None)) is not None:
        return str(name)
    key = getattr(folder, "key", None)
    operator = getattr(folder, "operator", None)
    if operator is None:
        return "folder"
    return operator.label if key in (None, "return_value") else str(key)
