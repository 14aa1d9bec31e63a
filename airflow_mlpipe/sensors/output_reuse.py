"""The hashing sensor: it computes a step's fingerprint and senses whether verified outputs exist."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseSensorOperator, XComArg
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_mlpipe.errors import DefinitionError, MLPipeError
from airflow_mlpipe.links.manifest import ManifestLink
from airflow_mlpipe.links.producer import ProducerLink
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.entry import Command, Function, Script
from airflow_mlpipe.model.environment import Environment, check_environment
from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.pipeline import bundle, catalog, resuming
from airflow_mlpipe.pipeline.arguments import check_arguments, check_inputs, check_outputs, check_variables
from airflow_mlpipe.pipeline.assets import outlets_of
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.expansion import nothing_to_map
from airflow_mlpipe.pipeline.mapping import PartialStep
from airflow_mlpipe.pipeline.parameters import bind_parameters
from airflow_mlpipe.pipeline.xcom import allow_references

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from airflow_mlpipe.pipeline.functions.call import FunctionCall
    from airflow_mlpipe.pipeline.lookup import Sensing
    from airflow_mlpipe.pipeline.outcome import Outcome
    from airflow_mlpipe.pipeline.step_run import StepRun

# The task SDK reads from XCom only the classes that it was told of; every DAG with a step loads this module.
allow_references()


class OutputReuseSensor(BaseSensorOperator):
    """Senses whether verified outputs of a step exist, and hands them on as if it had made them.

    Used alone it waits for a step that another DAG runs: given the same definition, it has the same
    fingerprint. Its subclasses run the step when there is nothing to sense.

    It returns a dict: a ``PipelineDataReference`` for each output, and the step's metrics under ``metrics``.

    :param entry: what the step starts, a ``Script``, a ``Command`` or a ``Function``.
    :param arguments: one item for each argv item: str, int, float, bool, outputs, inputs, datasets,
        parameters, XComArgs. Never split by a shell. Edges between steps follow from it. Templated.
    :param inputs: inputs that are not in the arguments; the script finds them by name.
    :param outputs: outputs that are not in the arguments, or are to be told apart from inputs.
    :param source_directory: folder of the step's code, relative to the DAG file.
    :param environment: packages for the step's process: an ``Environment`` or the name of one.
    :param environment_variables: variables for the step's process; they count for reuse. Templated.
    :param compute_target: where the step runs: a target or the name of one; default ``local``.
    :param experiment: what its metrics are filed under; default is the DAG.
    :param allow_reuse: whether outputs are reused; default is whether the step declares any.
    :param hash_paths: files and folders in source_directory that count besides those that are found.
    :param regenerate_outputs: run in any case, and store the result.
    :param reuse_version: a salt; change it to make the step run once more.
    :param max_age: outputs older than this are not reused.
    :param reuse_scope: ``global``, or ``dag`` to reuse only what this DAG has made.
    :param code_scope: ``imports``: Python files count when the script reaches them; ``directory``: all files.
    :param emit_assets_on_reuse: whether the asset events of ``outlets`` are emitted when outputs are reused.
    :param azureml_compat: whether ``import azureml`` in the step's process leads to this package's stand-in;
        default is whether its code imports it and the step's interpreter has no other.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``. Without it,
        ``mode="reschedule"`` frees the worker while waiting.
    """

    template_fields: Sequence[str] = ("arguments", "inputs", "environment_variables")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "arguments": "json",
        "inputs": "json",
        "environment_variables": "json",
    }
    ui_color = "#d9e8f5"
    operator_extra_links: Sequence[ProducerLink | ManifestLink] = (ProducerLink(), ManifestLink())

    runs_the_step: ClassVar[bool] = False
    """Whether it makes the outputs that it does not find; every step has this attribute, no other task."""

    def __init__(
        self,
        *,
        task_id: str,
        entry: Script | Command | Function,
        arguments: Sequence[Any] = (),
        inputs: Sequence[Any] = (),
        outputs: Sequence[StepOutput] = (),
        source_directory: str | None = ".",
        environment: Environment | str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        compute_target: ComputeTarget | str | None = None,
        experiment: str | None = None,
        allow_reuse: bool | None = None,
        hash_paths: Sequence[str] = (),
        regenerate_outputs: bool = False,
        reuse_version: str | None = None,
        max_age: timedelta | None = None,
        reuse_scope: Literal["global", "dag"] = "global",
        code_scope: Literal["imports", "directory"] = "imports",
        emit_assets_on_reuse: bool = False,
        azureml_compat: bool | None = None,
        deferrable: bool | None = None,
        mode: str = "reschedule",
        poke_interval: float | timedelta = 10,
        **kwargs: Any,
    ) -> None:
        self.target = catalog.compute_target(compute_target)
        kwargs = {"multiple_outputs": True, **self.placed_by(self.target), **kwargs}
        super().__init__(task_id=task_id, mode=mode, poke_interval=poke_interval, **kwargs)
        self.entry = entry
        self.arguments = arguments if not isinstance(arguments, tuple) else list(arguments)
        self.inputs = inputs
        self.outputs = outputs
        self.source_directory = source_directory
        self.environment = catalog.environment(environment)
        self.environment_variables = dict(environment_variables or {})
        self.experiment = experiment
        self.reuse = ReuseOptions(
            allow_reuse=allow_reuse,
            hash_paths=(hash_paths,) if isinstance(hash_paths, str) else tuple(hash_paths),
            regenerate_outputs=regenerate_outputs,
            reuse_version=reuse_version,
            max_age=max_age,
            reuse_scope=reuse_scope,
            code_scope=code_scope,
        )
        self.emit_assets_on_reuse = emit_assets_on_reuse
        self.azureml_compat = azureml_compat
        self._deferrable = deferrable
        self.decided: dict[str, Any] | None = None
        self._trigger: BaseTrigger | None = None
        self._check()
        self._joined = self._is_unmapped
        if self.has_dag():
            self._join_dag()

    # -- while the DAG is parsed ------------------------------------------------------------------------

    @classmethod
    def partial(cls, **kwargs: Any) -> PartialStep:
        """Part of the arguments, for ``.expand()``; each mapped instance has its own fingerprint."""
        return PartialStep.of(super().partial(**kwargs), given=kwargs)

    @classmethod
    def placed_by(cls, target: ComputeTarget) -> dict[str, Any]:
        """The arguments of a task that *target* brings along, for Airflow's scheduler.

        What only waits for a step takes no slot from those that run.
        """
        names = ("pool", "pool_slots", "queue") if cls.runs_the_step else ("queue",)
        return {name: value for name, value in target.task_arguments.items() if name in names}

    def run_after(self, *steps: Any) -> None:
        """Run after *steps* although no data says so (SDK v1's ``run_after``)."""
        for step in steps:
            self.set_upstream(step)

    def resolve_template_files(self) -> None:
        """The last checks: Airflow calls this for every task when all of the DAG file is read."""
        super().resolve_template_files()
        if self.has_dag():
            self._join_dag()
            flow = Dataflow.of(self.dag)
            flow.check(self.task_id)
            if self.runs_the_step:
                self.outlets = outlets_of(flow.made_by(self.task_id), self.outlets, self.who)

    @property
    def call(self) -> FunctionCall | None:
        """How its function is called; None for a step that starts a script or a command."""
        return None

    @property
    def deferrable(self) -> bool:
        """Whether it waits in the triggerer."""
        if self._deferrable is not None:
            return self._deferrable
        return bool(conf.getboolean("operators", "default_deferrable", fallback=False))

    @property
    def who(self) -> str:
        """The step, for messages."""
        return f"step {self.task_id!r}"

    @property
    def _is_unmapped(self) -> bool:
        return bool(getattr(self, "_BaseOperator__from_mapped", False))

    def _check(self) -> None:
        shortest = resuming.SHORTEST_RESCHEDULE_SECONDS
        if self.reschedule and self.poke_interval < shortest and not self.deferrable:
            raise DefinitionError(
                f"{self.who}: poke_interval={self.poke_interval:g} is too short for mode='reschedule'; use "
                f"{shortest:g} s or more, or mode='poke', or deferrable=True"
            )
        check_arguments(self.arguments, self.who)
        check_inputs(self.inputs, self.who)
        check_outputs(self.outputs, self.who)
        check_variables(self.environment_variables, self.who)
        check_environment(self.environment, self.target, self.who)

    def _join_dag(self) -> None:
        """Take part in the DAG's dataflow and parameters, and find the code; once."""
        if self._joined:
            return
        self._joined = True
        call = self.call
        inputs = self.inputs if call is None else call.values
        Dataflow.of(self.dag).join(
            self.dag, self.task_id, arguments=self.arguments, inputs=inputs, outputs=self.outputs
        )
        arguments = self.arguments if isinstance(self.arguments, list) else ()
        bind_parameters(self.dag, self, arguments if call is None else call.parameters)
        if self.source_directory is None:
            return
        directory = bundle.source_directory(self.dag, self.source_directory, self.who)
        if isinstance(self.entry, Script):
            bundle.script(directory, self.entry.script_name, self.who)

    # -- while the task runs ----------------------------------------------------------------------------

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """As for any task, but what mapped tasks and groups hand on keeps its map indexes."""
        from airflow_mlpipe.pipeline.mapped_results import resolved

        if isinstance(content, XComArg):
            return resolved(content, context)
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Any) -> Any:
        """Sense, and wait while there is nothing; see the class for what is returned."""
        if self.deferrable:
            return self._sense_or_defer(context, time.time() + self.timeout)
        with _mistakes_are_final():
            return super().execute(context)

    def resume(self, context: Any, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """Go on after the triggerer has seen something; *deadline* is in seconds since the epoch."""
        if event.get("status") == "error":
            raise MLPipeError(str(event.get("message", "the triggerer could not watch the datastore")))
        # dag.test() loses what a task defers with.
        return self._sense_or_defer(context, time.time() + self.timeout if deadline is None else deadline)

    def poke(self, context: Any) -> PokeReturnValue:
        """Whether verified outputs exist, and if so what they are."""
        # What only a running task needs is imported when it runs: every DAG file imports this module.
        from airflow_mlpipe.pipeline.step_run import StepRun
        from airflow_mlpipe.triggers.outputs import OutputsTrigger

        step = StepRun.of(self, context)
        # What is sealed from here on is worth another look, so it is taken down before the look.
        trigger = OutputsTrigger.for_manifest(step.stores, step.preparation.fingerprint, self.poke_interval)
        sensing = step.secure(step.policy)
        if sensing.manifest is None:
            self._trigger = trigger
            self.log.info("%s: waiting for its outputs: %s", self.who, sensing.decision.why)
            return PokeReturnValue(False)
        return self._hand_on(step, sensing, sensing.reused())

    def _hand_on(self, step: StepRun, sensing: Sensing, outcome: Outcome) -> PokeReturnValue:
        """Publish outputs, whoever made them, and finish."""
        handed_on = step.handed_on(outcome)
        self.decided = step.publish(sensing, outcome, handed_on.keys)
        # Airflow stores where each link leads, by a request each, even if that is nowhere.
        links = self.operator_extra_links
        self.operator_extra_links = tuple(link for link in links if link.get_link(self, ti_key=None))
        if (sentence := nothing_to_map(self, handed_on.return_value)) is not None:
            self.log.info("%s", sentence)
        return PokeReturnValue(True, handed_on.return_value)

    def _sense_or_defer(self, context: Any, deadline: float) -> Any:
        with _mistakes_are_final():
            outcome = self.poke(context)
        if outcome.is_done:
            return outcome.xcom_value
        return self._wait(context, deadline)

    def _wait(self, context: Any, deadline: float) -> Any:
        """Hand over to the triggerer until *deadline*, in seconds since the epoch."""
        remaining = deadline - time.time()
        if remaining <= 0:
            raise AirflowSensorTimeout(f"{self.who}: waited for {self.timeout:g} s in vain")
        return self._hand_over(deadline, remaining)

    def _hand_over(self, deadline: float, seconds: float) -> Any:
        assert self._trigger is not None  # whoever finds nothing says what to wait for
        return self.defer(
            trigger=self._trigger,
            method_name="resume",
            kwargs={"deadline": deadline},
            timeout=timedelta(seconds=seconds),
        )


@contextmanager
def _mistakes_are_final() -> Iterator[None]:
    """An author's mistake fails the task without retries: another try would read the same mistake."""
    try:
        yield
    except DefinitionError as error:
        raise AirflowFailException(str(error)) from error
