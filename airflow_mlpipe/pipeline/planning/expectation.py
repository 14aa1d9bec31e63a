"""What may be expected of a step that runs: the same as last time, until it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_mlpipe.model.reference import PipelineDataReference, ProducerReference
from airflow_mlpipe.pipeline.costs import Expense
from airflow_mlpipe.pipeline.lookup import last_made
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.planning.run import HandedOn
from airflow_mlpipe.pipeline.publication import handed_on
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.decision import Decision

_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Expectation:
    """What a task instance would hand on, and what it ``takes`` to make that, None when not known."""

    handed_on: HandedOn
    takes: Expense | None = None

    @classmethod
    def as_last_time(cls, instance: ProducerReference, outputs: Sequence[str], stores: Stores) -> Expectation:
        """What *instance* made, or reused, when its task last succeeded. Raises StoreError."""
        last = last_made(instance.dag_id, instance.task_id, instance.map_index, stores)
        if last is None:
            return cls.of_nothing(instance, outputs)
        datastore, manifest = last
        if not set(outputs) <= set(manifest.outputs):
            return cls(cls.of_nothing(instance, outputs).handed_on, Expense.of(manifest))
        outcome = Outcome(Decision("reuse", ()), manifest, datastore, sealed=True)
        return cls(HandedOn.of(handed_on(outcome, outputs), certain=False), Expense.of(manifest))

    @classmethod
    def of_nothing(cls, instance: ProducerReference, outputs: Sequence[str]) -> Expectation:
        """References that say no more than that there will be some."""
        references = {
            name: PipelineDataReference(
                name=name,
                uri="",
                digest=_NO_DIGEST,
                kind="missing",
                size=0,
                fingerprint=_NO_DIGEST,
                producer=instance,
                sealed=False,
            )
            for name in outputs
        }
        return cls(HandedOn(references, certain=False, supposed=False))
