"""One run of a step: from its task and context to a decision, and to what it hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.pipeline import bundle
from airflow_mlpipe.pipeline.export import export
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.lookup import Sensing, sense
from airflow_mlpipe.pipeline.preparation import Preparation, StepDefinition, prepare
from airflow_mlpipe.pipeline.publication import DECISION_KEY, decision_document, handed_on
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.reuse.decision import Decision, Policy
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.manifest import Manifest

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.production import Production


@dataclass(frozen=True)
class StepRun:
    """A step, prepared for one task instance. ``task`` is the operator, its templates rendered."""

    task: Any
    context: Any
    settings: Settings
    datastore: Datastore
    identity: TaskIdentity
    preparation: Preparation

    @classmethod
    def of(cls, task: Any, context: Any) -> StepRun:
        """Prepare *task*: bind its data and compute its fingerprint. Raises as ``prepare`` does."""
        settings = Settings.read()
        datastore = Datastore.open(settings.datastore)
        variables = {**task.environment.environment_variables, **task.environment_variables}
        definition = StepDefinition(
            who=task.who,
            folder=bundle.dag_folder(task.dag),
            entry=task.entry,
            source_directory=bundle.source_directory(task.dag, task.source_directory, task.who),
            arguments=task.arguments,
            inputs=tuple(task.inputs),
            environment=task.environment,
            environment_variables={name: str(value) for name, value in variables.items()},
            target=task.target,
            reuse=task.reuse,
        )
        preparation = prepare(definition, task, context, settings, datastore)
        return cls(task, context, settings, datastore, TaskIdentity.of(context), preparation)

    @property
    def max_age(self) -> float | None:
        """The oldest that reused outputs may be, in seconds."""
        age = self.task.reuse.max_age
        return None if age is None else age.total_seconds()

    @property
    def experiment(self) -> str:
        """What metrics are filed under."""
        return self.task.experiment or self.identity.dag_id

    def sense(self, policy: Policy) -> Sensing:
        """Look for outputs and decide."""
        return sense(self.preparation, policy, self.identity, self.settings, self.datastore)

    def production(self) -> Production:
        """What makes the outputs."""
        from airflow_mlpipe.pipeline.production import Production  # a step that is reused does without

        return Production(self.preparation, self.identity, self.experiment, self.settings, self.datastore)

    def publish(self, decision: Decision, manifest: Manifest, *, sealed: bool) -> dict[str, Any]:
        """Hand on all but the return value: the decision, exported copies, the journal's entry.

        Returns the decision as XCom carries it.
        """
        document = decision_document(decision, manifest, self.datastore, sealed=sealed)
        self.context["ti"].xcom_push(key=DECISION_KEY, value=document)
        export(manifest, self.preparation.binding.outputs.values(), self.identity, self.datastore)
        if sealed:
            identity = self.identity
            Journal(self.datastore).record(
                identity.dag_id, identity.task_id, identity.map_index, identity.run_id, manifest.fingerprint
            )
        return document

    def return_value(self, manifest: Manifest, *, sealed: bool) -> dict[str, Any]:
        """The task's return value."""
        return handed_on(manifest, self.preparation.binding.outputs, self.datastore, sealed=sealed)
