"""The context that a task would have in a run, before there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

from airflow.sdk import TaskInstanceState
from airflow.sdk.definitions._internal.types import NOTSET, is_arg_set
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetTaskStates,
    GetTICount,
    GetVariable,
    GetXComCount,
    GetXComSequenceItem,
    GetXComSequenceSlice,
    MaskSecret,
    TaskStatesResult,
    TICount,
    VariableResult,
    XComCountResponse,
    XComSequenceIndexResult,
    XComSequenceSliceResult,
)
from airflow.sdk.execution_time.context import MacrosAccessor, VariableAccessor
from airflow.sdk.execution_time.supervisor import set_supervisor_comms
from airflow.sdk.execution_time.task_mapping import get_relevant_map_indexes
from airflow.sdk.serde import serialize

from airflow_mlpipe.pipeline.planning.run import NotKnownYet, PlannedRun


class PlannedContext(dict[str, Any]):
    """What is known of a task's context. Another key that Airflow would have raises NotKnownYet.

    Such a key counts as being there: a template must not take it for one that is undefined.
    """

    def __contains__(self, key: object) -> bool:
        return key in KNOWN_CONTEXT_KEYS or super().__contains__(key)

    def __missing__(self, key: str) -> Any:
        if key in KNOWN_CONTEXT_KEYS:
            raise NotKnownYet(f"a run has its {key}")
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - dict.get() knows no __missing__


class _Partial:
    """Something of a run of which only some attributes are known."""

    what = ""

    def __getattr__(self, name: str) -> Any:
        # The task SDK looks for private attributes that may be missing.
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotKnownYet(f"a run has its {self.what}.{name}")


class PlannedDagRun(_Partial):
    """The DAG run, as templates and parameters see it."""

    what = "dag_run"

    def __init__(self, run: PlannedRun) -> None:
        self.conf = dict(run.conf)
        self.dag_id = run.dag.dag_id
        if run.logical_date is not None:
            self.logical_date = run.logical_date


class PlannedInstance(_Partial):
    """The task instance, which pulls from what other tasks of the plan hand on."""

    what = "ti"

    def __init__(self, run: PlannedRun, task: Any, map_index: int) -> None:
        self._run = run
        self.task = task
        self.dag_id: str = run.dag.dag_id
        self.task_id: str = task.task_id
        self.map_index = map_index
        self.run_id = _UnknownText("the id of a run")

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = "return_value",
        include_prior_dates: bool = False,
        *,
        map_indexes: Any = NOTSET,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """As the task instance of a run does it. Raises NotKnownYet."""
        if task_ids is None or dag_id not in (None, self.dag_id) or include_prior_dates or run_id is not None:
            raise NotKnownYet("a run pulls its XComs")
        tasks = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        if not is_arg_set(map_indexes):
            found = [value for task_id in tasks for value in self._run.values(task_id, key) or [None]]
            return found[0] if isinstance(task_ids, str) and len(found) == 1 else found
        one = map_indexes is None or isinstance(map_indexes, int)
        indexes = [-1 if map_indexes is None else map_indexes] if one else list(map_indexes)
        found = [self._run.value(task_id, index, key, default) for task_id in tasks for index in indexes]
        return found[0] if isinstance(task_ids, str) and one else found

    def get_relevant_upstream_map_indexes(
        self, upstream: Any, ti_count: int | None, session: object
    ) -> int | range | None:
        """Which instances of *upstream* belong to this one, when both are in a mapped task group."""
        if self.map_index < 0:
            return None
        count = self._run.count(self.task_id)
        indexes: int | range | None = get_relevant_map_indexes(
            task=self.task,
            run_id=self.run_id,
            map_index=self.map_index,
            ti_count=count,
            relative=upstream,
            dag_id=self.dag_id,
        )
        return indexes


class _UnknownText(str):
    """A text that Airflow may hand on in its own messages, and that may not become part of another text."""

    __slots__ = ()

    def __str__(self) -> str:
        raise NotKnownYet("a run has its run_id")

    def __format__(self, format_spec: str) -> str:
        return str(self)


def context_of(run: PlannedRun, task: Any, map_index: int) -> PlannedContext:
    """The context in which an instance of *task* renders its templates.

    Raises Airflow's ParamValidationError for values of *run* that the params do not allow.
    """
    ti = PlannedInstance(run, task, map_index)
    return PlannedContext(
        dag=run.dag,
        dag_run=PlannedDagRun(run),
        inlets=task.inlets,
        macros=MacrosAccessor(),
        map_index_template=task.map_index_template,
        outlets=task.outlets,
        params=params_of(run, task),
        task=task,
        task_instance=ti,
        ti=ti,
        var={
            "json": VariableAccessor(deserialize_json=True),
            "value": VariableAccessor(deserialize_json=False),
        },
        **_dates(run),
    )


def params_of(run: PlannedRun, task: Any) -> dict[str, Any]:
    """The values of the params of *task* in *run*. Raises Airflow's ParamValidationError.

    Airflow validates the schemas of all params for each task anew. Here tasks that declare the same share it.
    """
    params = task.params
    declared = {name: params.get_param(name) for name in params}
    key = repr([(name, param.value, param.schema) for name, param in declared.items()])
    if key not in run.params:
        # Validation writes the run's values into the params, and the DAG belongs to the caller.
        dag: Any = SimpleNamespace(params=deepcopy(run.dag.params))
        own: Any = SimpleNamespace(params=deepcopy(params))
        run.params[key] = process_params(dag, own, dict(run.conf), suppress_exception=False)
    return dict(run.params[key])


@contextmanager
def in_place_of_a_supervisor(run: PlannedRun) -> Iterator[None]:
    """Answer, during the block, what the task SDK asks the supervisor of a task for."""
    with set_supervisor_comms(_Supervisor(run)):
        yield


class _Supervisor:
    def __init__(self, run: PlannedRun) -> None:
        self._run = run

    def send(self, message: Any) -> Any:
        """The answer to *message*. Raises NotKnownYet for what only a run can answer."""
        if isinstance(message, GetTICount):
            return TICount(count=sum(self._run.count(task_id) for task_id in message.task_ids or ()))
        if isinstance(message, GetXComCount):
            self._run.count(message.task_id)
            return XComCountResponse(len=self._run.number_of_values(message.task_id, message.key))
        if isinstance(message, GetXComSequenceItem):
            # A slice takes the last item as [-1:None], and none at all where there is no such position.
            one = slice(message.offset, None if message.offset == -1 else message.offset + 1)
            for value in self._run.some_values(message.task_id, message.key, one):
                return XComSequenceIndexResult(root=serialize(value))
            return ErrorResponse(error=ErrorType.XCOM_NOT_FOUND)
        if isinstance(message, GetXComSequenceSlice):
            some = slice(message.start, message.stop, message.step)
            values = self._run.some_values(message.task_id, message.key, some)
            return XComSequenceSliceResult(root=[serialize(value) for value in values])
        if isinstance(message, GetTaskStates):
            states = {
                f"{task_id}_{index}": TaskInstanceState.SUCCESS.value
                for task_id in message.task_ids or ()
                for index in range(self._run.count(task_id))
            }
            return TaskStatesResult(task_states={"planned": states})
        if isinstance(message, GetVariable):
            return _variable(message.key)
        if isinstance(message, MaskSecret):
            return None
        raise NotKnownYet(f"Airflow answers {type(message).__name__}")


def _variable(key: str) -> Any:
    """A variable as Airflow's database has it, which is where a worker's request ends."""
    from airflow.secrets.metastore import MetastoreBackend

    try:
        value = MetastoreBackend().get_variable(key)
    except Exception as error:
        raise NotKnownYet(f"a worker reads the variable {key}") from error
    if value is None:
        return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
    return VariableResult(key=key, value=value)


def _dates(run: PlannedRun) -> dict[str, Any]:
    """What follows from the logical date, as Airflow derives it."""
    if run.logical_date is None:
        return {}
    date, ts = run.logical_date, run.logical_date.isoformat()
    return {
        "logical_date": date,
        "ds": date.strftime("%Y-%m-%d"),
        "ds_nodash": date.strftime("%Y%m%d"),
        "ts": ts,
        "ts_nodash": date.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
    }
