"""One run of a step: from its task and context to a decision, and to what it hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.pipeline import bundle
from airflow_mlpipe.pipeline.announcing import announce
from airflow_mlpipe.pipeline.definition import StepDefinition
from airflow_mlpipe.pipeline.export import export
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.lookup import Sensing, sense
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.policy import age_policy, policy_of
from airflow_mlpipe.pipeline.preparation import Preparation, prepare
from airflow_mlpipe.pipeline.publication import DECISION_KEY, HandedOn, decision_document, handed_on
from airflow_mlpipe.pipeline.recording import Recorder
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import Worker
from airflow_mlpipe.reuse.decision import Policy
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.lease import Leases

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.production import Production
    from airflow_mlpipe.pipeline.registrar import Registered


@dataclass(frozen=True)
class StepRun:
    """A step, prepared for one task instance. ``task`` is the operator, its templates rendered."""

    task: Any
    context: Any
    settings: Settings
    stores: Stores
    identity: TaskIdentity
    preparation: Preparation

    @classmethod
    def of(cls, task: Any, context: Any) -> StepRun:
        """Prepare *task*: bind its data and compute its fingerprint. Raises as ``prepare`` does."""
        with Worker.open(Settings.read()) as worker:
            return cls.prepared(task, context, TaskIdentity.of(context), worker)

    @classmethod
    def prepared(cls, task: Any, context: Any, identity: TaskIdentity, worker: Worker) -> StepRun:
        """The same by a *worker* that is there already, for the task instance *identity*."""
        preparation = prepare(definition_of(task), task, context, worker)
        return cls(task, context, worker.settings, worker.stores, identity, preparation)

    @property
    def datastore(self) -> Datastore:
        """Where this deployment writes."""
        return self.stores.own

    @property
    def leases(self) -> Leases:
        """The leases there."""
        return Leases(self.datastore, duration=self.settings.lease_seconds)

    @property
    def policy(self) -> Policy:
        """What deployment, run and author ask for; DefinitionError for a misspelt switch of the run."""
        reuse, conf = self.task.reuse, self.context["dag_run"].conf
        if not self.task.runs_the_step:
            return age_policy(reuse, conf, self.settings)
        makes = bool(self.preparation.binding.outputs) or self.preparation.definition.has_results
        return policy_of(reuse, conf, self.settings, has_outputs=makes)

    @cached_property
    def recorder(self) -> Recorder:
        """What keeps the record of this run."""
        return Recorder(self.preparation, self.identity, self.datastore)

    @property
    def experiment(self) -> str:
        """What metrics are filed under."""
        return self.task.experiment or self.identity.dag_id

    def sense(self, policy: Policy) -> Sensing:
        """Look for outputs and decide."""
        return sense(self.preparation, policy, self.identity, self.settings, self.stores)

    def secure(self, policy: Policy) -> Sensing:
        """Decide as :meth:`sense` does; outputs that are to be reused stay from now on.

        The collection of garbage withdraws a manifest, reads the records, and then deletes. Recording first
        and looking once more after that makes sure that one of the two sees the other.
        """
        while True:
            sensing = self.sense(policy)
            if sensing.manifest is None or sensing.datastore is not self.datastore:
                return sensing
            self.recorder.reusing(sensing)
            if self.datastore.exists(manifest_key(sensing.manifest.fingerprint)):
                return sensing

    def production(self, *, may_leave: bool = False) -> Production:
        """What makes the outputs; with *may_leave* it leaves a step that the triggerer can watch."""
        from airflow_mlpipe.pipeline.production import Production  # a step that is reused does without

        return Production(
            self.preparation,
            self.identity,
            self.experiment,
            self.settings,
            self.stores,
            self.context,
            self.recorder.snapshot_kept,
            self.recorder.attempt_lost,
            may_leave,
        )

    def publish(self, sensing: Sensing, outcome: Outcome, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Hand on all but the return value: the decision, values under *keys*, exported copies, registered
        versions, asset events, the record.

        Returns the decision as XCom carries it.
        """
        document = decision_document(outcome)
        ti = self.context["ti"]
        ti.xcom_push(key=DECISION_KEY, value=document)
        if not self.task.multiple_outputs:  # else Airflow does this with what the task returns
            for key, value in keys.items():
                ti.xcom_push(key=key, value=value)
        outputs = self.preparation.binding.outputs
        export(outcome, outputs.values(), self.identity, self.stores, self.settings)
        registered = self._register(outcome)
        announce(self.task, self.context, outcome, registered, outputs.values(), self.identity.producer)
        self.recorder.succeeded(sensing, outcome)
        return document

    def _register(self, outcome: Outcome) -> list[Registered]:
        """Register what the step made, as far as it declares or its script asked for it."""
        outputs = self.preparation.binding.outputs.values()
        asks = outcome.manifest.registrations or any(output.registration for output in outputs)
        if not asks or not self.task.runs_the_step:
            return []
        from airflow_mlpipe.pipeline.registering import register_all  # most steps do without

        doubt = outcome.doubt or self.policy.why_not_stored
        return register_all(replace(outcome, doubt=doubt), outputs, self.identity, self.stores, self.settings)

    def handed_on(self, outcome: Outcome) -> HandedOn:
        """What the task hands on by XCom."""
        return handed_on(outcome, self.preparation.binding.outputs)


def definition_of(task: Any) -> StepDefinition:
    """What the author declared of *task*, an operator whose templates are rendered."""
    variables = {**task.environment.environment_variables, **task.environment_variables}
    directory = None
    if task.source_directory is not None:
        directory = bundle.source_directory(task.dag, task.source_directory, task.who)
    return StepDefinition(
        who=task.who,
        folder=bundle.dag_folder(task.dag),
        bundle=bundle.bundle_root(task.dag),
        entry=task.entry,
        source_directory=directory,
        arguments=task.arguments,
        inputs=tuple(task.inputs),
        environment=task.environment,
        environment_variables={name: str(value) for name, value in variables.items()},
        target=task.target,
        reuse=task.reuse,
        call=task.call,
        azureml_compat=task.azureml_compat,
    )
