"""Planning: finding out what a run of a DAG would do with each step, without running anything."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.exceptions import ParamValidationError
from airflow.sdk.timezone import coerce_datetime

from airflow_mlpipe.errors import DefinitionError, MLPipeError
from airflow_mlpipe.model.entry import Function
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.model.registered import RegisteredDataset, RegisteredSource
from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.pipeline.costs import Expense
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.lookup import Sensing
from airflow_mlpipe.pipeline.planning.context import context_of, in_place_of_a_supervisor, params_of
from airflow_mlpipe.pipeline.planning.expectation import Expectation
from airflow_mlpipe.pipeline.planning.plan import ExpectedAction, Plan, PlannedStep
from airflow_mlpipe.pipeline.planning.run import HandedOn, NotKnownYet, PlannedRun
from airflow_mlpipe.pipeline.policy import policy_of
from airflow_mlpipe.pipeline.publication import WHOLE
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.step_run import StepRun
from airflow_mlpipe.pipeline.worker import Worker
from airflow_mlpipe.reuse.decision import Reason, reasons_against
from airflow_mlpipe.targets.environments import UnresolvedPackages

_WOULD: dict[ExpectedAction, str] = {"reuse": "be reused", "run": "run", "wait": "wait"}


def plan(dag: Any, conf: Mapping[str, Any] | None = None, *, logical_date: datetime | None = None) -> Plan:
    """What a run of *dag*, a parsed DAG, with *conf* would do with each step.

    Each step is prepared and looked up as its task would do it. Nothing is run, and nothing is written but
    the memory of file digests. Without a *logical_date*, what depends on it is not known.

    Raises DefinitionError for a *conf* that such a run would refuse and for a wrong option, StoreError when a
    store cannot be read.
    """
    run = PlannedRun(dag, dict(conf or {}), coerce_datetime(logical_date))
    try:
        params_of(run, dag)
    except ParamValidationError as error:
        raise DefinitionError(f"a run of {dag.dag_id} with this conf would be refused: {error}") from error
    settings = Settings.read()
    policy_of(ReuseOptions(), run.conf, settings, has_outputs=True)
    with Worker.open(settings, resolves_packages=False) as worker:
        planner = _Planner(run, worker)
        steps = [step for task in dag.topological_sort() for step in planner.of(task)]
    return Plan(dag.dag_id, tuple(steps))


class _WouldFail(Exception):
    """A task of the run would fail before its step begins; the message says why."""


class _Planner:
    """Goes through the steps of a run, each after those that it reads from."""

    def __init__(self, run: PlannedRun, worker: Worker) -> None:
        self._run = run
        self._worker = worker
        self._makers: dict[str, str] = {}
        self._environments: dict[bool | None, Any] = {}
        self._registering: dict[str, list[str]] = {}

    def of(self, task: Any) -> Iterator[PlannedStep]:
        """What the run would do with *task*, or with each instance of it when it is mapped.

        Nothing is said of a task that is no step, but what it returns is known from here on if it can tell.
        """
        if _is_step(task):
            yield from self._steps(task)
        elif hasattr(_kind(task), "planned"):
            self._foresee(task)

    def _foresee(self, task: Any) -> None:
        """Let it be known what a task returns that looks something up and does no more."""
        found: dict[int, HandedOn] = {}
        try:
            with in_place_of_a_supervisor(self._run):
                count = _count(self._run, task)
                for map_index in _map_indexes(count):
                    self._run.forget_questions()
                    context = self._rendered(task, map_index)
                    value = context["task"].planned(context)
                    certain = not self._run.waits_for
                    found[map_index] = HandedOn({WHOLE: value}, certain, supposed=self._run.is_supposed)
        except (NotKnownYet, _WouldFail, MLPipeError):
            return  # whoever reads it waits until the task is done
        self._run.expand(task.task_id, len(found))
        for map_index, handed_on in found.items():
            self._run.hand_on(task.task_id, map_index, handed_on)

    def _steps(self, task: Any) -> Iterator[PlannedStep]:
        self._run.forget_questions()
        try:
            with in_place_of_a_supervisor(self._run):
                count = _count(self._run, task)
        except NotKnownYet as error:
            yield self._unprepared(task, -1, error, None)
            return
        except _WouldFail as error:
            yield _failing(task, -1, error)
            return
        self._run.expand(task.task_id, 1 if count is None else count)
        for map_index in _map_indexes(count):
            planned = self._instance(task, map_index)
            if planned.action != "reuse":
                self._expect_versions(task)
            yield planned

    def _instance(self, task: Any, map_index: int) -> PlannedStep:
        self._run.forget_questions()
        try:
            with in_place_of_a_supervisor(self._run):
                step = self._prepared(task, map_index)
        except NotKnownYet as error:
            return self._unprepared(task, map_index, error, self._expect(task, map_index))
        except _WouldFail as error:
            self._expect(task, map_index, nothing=True)
            return _failing(task, map_index, error)
        pins = {name: str(pin) for name, pin in step.preparation.binding.pins.items()}
        return replace(self._looked_up(task, step), pins=pins)

    def _looked_up(self, task: Any, step: StepRun) -> PlannedStep:
        """What would be done with a step that is prepared."""
        if self._run.waits_for:
            return self._supposed(task, step)
        sensing = step.sense(step.policy)
        return self._reused(step, sensing) if sensing.manifest else self._not_reused(task, step, sensing)

    def _expect_versions(self, task: Any) -> None:
        """Let it be known that *task*, which may run, may register new versions."""
        for output in Dataflow.of(self._run.dag).made_by(task.task_id):
            if output.registration is not None:
                self._registering.setdefault(output.registration.name, []).append(task.task_id)

    def _await_versions(self, task: Any, source: RegisteredSource) -> None:
        """Raise NotKnownYet when a step before *task* may register what it would read as the latest."""
        registering = self._registering.get(source.name, []) if isinstance(source, RegisteredDataset) else []
        for task_id in registering:
            if task_id in task.get_flat_relative_ids(upstream=True):
                raise NotKnownYet(f"{task_id} is done", task_id)

    def _prepared(self, task: Any, map_index: int) -> StepRun:
        """The step as its task would prepare it."""
        self._worker.before_latest = functools.partial(self._await_versions, task)
        identity = TaskIdentity(self._run.dag.dag_id, "", task.task_id, map_index, 0, "")
        context = self._rendered(task, map_index)
        try:
            return StepRun.prepared(context["task"], context, identity, self._worker)
        except UnresolvedPackages as error:
            raise NotKnownYet(f"a worker has resolved its packages ({', '.join(error.packages)})") from error
        except MLPipeError as error:
            raise _WouldFail(str(error)) from error

    def _rendered(self, task: Any, map_index: int) -> Any:
        """The context of a task instance; its task has its templates rendered."""
        own = _own(task)
        try:
            context = context_of(self._run, own, map_index)
            own.render_template_fields(context, self._template_environment(task))
        except Exception as error:
            why = str(error) if isinstance(error, MLPipeError) else f"{type(error).__name__}: {error}"
            raise _WouldFail(f"its templates cannot be rendered: {why}") from error
        return context

    def _template_environment(self, task: Any) -> Any:
        """Airflow's own environment for the templates of *task*; it compiles equal ones of all tasks once."""
        native = task.render_template_as_native_obj
        if native not in self._environments:
            environment = task.get_template_env()
            environment.from_string = functools.cache(environment.from_string)
            self._environments[native] = environment
        return self._environments[native]

    def _reused(self, step: StepRun, sensing: Sensing) -> PlannedStep:
        identity, decision = step.identity, sensing.decision
        handed_on = HandedOn.of(step.handed_on(sensing.reused()), certain=True)
        self._run.hand_on(identity.task_id, identity.map_index, handed_on)
        return PlannedStep(
            identity.task_id,
            identity.map_index,
            "reuse",
            _kinds(decision.reasons),
            decision.why,
            fingerprint=step.preparation.fingerprint,
            saved_seconds=decision.saved_seconds,
            saved_cost=decision.saved_cost,
        )

    def _not_reused(self, task: Any, step: StepRun, sensing: Sensing) -> PlannedStep:
        map_index, fingerprint = step.identity.map_index, step.preparation.fingerprint
        decision = sensing.decision
        takes = self._expect(task, map_index)
        if not step.task.runs_the_step:
            reason = f"until its outputs exist: {decision.why}"
            return _waiting(task, map_index, reason, (), takes, fingerprint)
        shared = step.policy.why_not_stored is None and not _against(step)
        planned = _running(task, map_index, decision.reasons, takes, fingerprint)
        maker = self._makers.setdefault(fingerprint, planned.name) if shared else planned.name
        if maker != planned.name:
            reason = f"until {maker} is done, which makes the same outputs"
            return _waiting(task, map_index, reason, (maker,), takes, fingerprint)
        return planned

    def _supposed(self, task: Any, step: StepRun) -> PlannedStep:
        """What is certain of a step although some of its inputs are not; else what would be if they were."""
        # Without inputs that are at least supposed, the fingerprint means nothing.
        sensing = step.sense(step.policy) if self._run.is_supposed else None
        waits_for, map_index = tuple(self._run.waits_for), step.identity.map_index
        takes = (
            self._expect_reuse(step, sensing)
            if sensing is not None and sensing.manifest is not None
            else self._expect(task, map_index)
        )
        runs = step.task.runs_the_step
        if runs and (against := _against(step)):
            return _running(task, map_index, against, takes)
        reason, expected = f"until {_done(waits_for)}", None
        if sensing is not None:
            expected = _expected(sensing, runs=runs)
            would = f"with the same bytes as last time it would {_WOULD[expected]}"
            reason = f"{reason}; {would}: {sensing.decision.why}"
        return _waiting(task, map_index, reason, waits_for, takes, expected_action=expected)

    def _expect_reuse(self, step: StepRun, sensing: Sensing) -> Expense:
        """Hand on what was found for inputs that are only supposed; what it took to make that."""
        outcome, identity = sensing.reused(), step.identity
        handed_on = HandedOn.of(step.handed_on(outcome), certain=False)
        self._run.hand_on(identity.task_id, identity.map_index, handed_on)
        return Expense.of(outcome.manifest)

    def _unprepared(
        self, task: Any, map_index: int, error: NotKnownYet, takes: Expense | None
    ) -> PlannedStep:
        """What is certain of a step of which something was not known."""
        against = self._against_reuse(task)
        if against and _kind(task).runs_the_step:
            return _running(task, map_index, against, takes)
        if error.task_id is not None:
            self._run.waits_for[error.task_id] = None
        waits_for = tuple(self._run.waits_for)
        parts = [_done(waits_for)] if waits_for else []
        if error.task_id is None:
            parts.append(error.until)
        return _waiting(task, map_index, f"until {' and '.join(parts)}", waits_for, takes)

    def _against_reuse(self, task: Any) -> tuple[Reason, ...]:
        """What forbids reuse whatever the step depends on. Of a mapped step, only what its run says."""
        has_outputs = task.is_mapped or bool(self._outputs(task)) or _returns(task)
        options = ReuseOptions() if task.is_mapped else task.reuse
        policy = policy_of(options, self._run.conf, self._worker.settings, has_outputs=has_outputs)
        return reasons_against(policy, ())

    def _expect(self, task: Any, map_index: int, *, nothing: bool = False) -> Expense | None:
        """Hand on what may be expected of a task instance; what it may take to make that."""
        instance = ProducerReference(
            dag_id=self._run.dag.dag_id, run_id="planned", task_id=task.task_id, map_index=map_index
        )
        outputs = self._outputs(task)
        if nothing:
            expectation = Expectation.of_nothing(instance, outputs)
        else:
            expectation = Expectation.as_last_time(instance, outputs, self._worker.stores)
        self._run.hand_on(task.task_id, map_index, expectation.handed_on)
        return expectation.takes

    def _outputs(self, task: Any) -> list[str]:
        return [output.name for output in Dataflow.of(self._run.dag).made_by(task.task_id)]


def _against(step: StepRun) -> tuple[Reason, ...]:
    return reasons_against(step.policy, step.preparation.undetermined)


def _kind(task: Any) -> Any:
    return task.operator_class if task.is_mapped else type(task)


def _returns(task: Any) -> bool:
    return isinstance(task.entry, Function) and task.entry.returns


def _own(task: Any) -> Any:
    """A copy to render templates in, as a task has: the DAG belongs to the caller."""
    if not task.is_mapped:
        return task.prepare_for_execution()
    own = copy.copy(task)
    own.params = copy.deepcopy(task.params)
    return own


def _is_step(task: Any) -> bool:
    return hasattr(_kind(task), "runs_the_step")


def _map_indexes(count: int | None) -> Iterable[int]:
    """The map indexes of *count* instances; None is a task that is not mapped."""
    return (-1,) if count is None else range(count)


def _count(run: PlannedRun, task: Any) -> int | None:
    """Into how many instances the run expands *task*; None for a task that is not mapped."""
    group = task.get_closest_mapped_task_group()
    if not task.is_mapped and group is None:
        return None
    if task.is_mapped and group is not None:
        raise NotKnownYet("a run expands the group around it")
    # The task SDK names no public way to what a task is expanded over.
    mapped = (task._get_specified_expand_input() if task.is_mapped else group._expand_input).value
    try:
        context = context_of(run, task, -1)
        dimensions = list(mapped.values()) if isinstance(mapped, Mapping) else [mapped]
        count = math.prod(len(_resolved(item, context)) for item in dimensions)
    except Exception as error:
        raise _WouldFail(f"what it is mapped over cannot be had: {type(error).__name__}: {error}") from error
    if count == 0:
        raise NotKnownYet("there is something to map it over; over nothing, Airflow skips it")
    return count


def _resolved(item: Any, context: Any) -> Any:
    return item.resolve(context) if isinstance(item, ResolveMixin) else item


def _running(
    task: Any,
    map_index: int,
    reasons: Iterable[Reason],
    takes: Expense | None,
    fingerprint: str | None = None,
) -> PlannedStep:
    reasons = tuple(reasons)
    why = "; ".join(reason.text for reason in reasons)
    return PlannedStep(
        task.task_id,
        map_index,
        "run",
        _kinds(reasons),
        why,
        fingerprint=fingerprint,
        expected_seconds=None if takes is None else takes.seconds,
        expected_cost=None if takes is None else takes.cost,
    )


def _waiting(
    task: Any,
    map_index: int,
    reason: str,
    waits_for: tuple[str, ...],
    takes: Expense | None,
    fingerprint: str | None = None,
    expected_action: ExpectedAction | None = None,
) -> PlannedStep:
    return PlannedStep(
        task.task_id,
        map_index,
        "unknown",
        ("waits",),
        reason,
        waits_for,
        fingerprint,
        expected_action,
        expected_seconds=None if takes is None else takes.seconds,
        expected_cost=None if takes is None else takes.cost,
    )


def _failing(task: Any, map_index: int, error: _WouldFail) -> PlannedStep:
    return PlannedStep(task.task_id, map_index, "run", ("fails",), f"it would fail: {error}")


def _expected(sensing: Sensing, *, runs: bool) -> ExpectedAction:
    if sensing.manifest is not None:
        return "reuse"
    return "run" if runs else "wait"


def _kinds(reasons: Iterable[Reason]) -> tuple[str, ...]:
    return tuple(reason.kind for reason in reasons)


def _done(tasks: tuple[str, ...]) -> str:
    *others, last = tasks
    return f"{', '.join(others)} and {last} are done" if others else f"{last} is done"
