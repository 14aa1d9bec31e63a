"""Keeping the record of what a task instance decided and made."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.pipeline.costs import Expense
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.lookup import Sensing
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.recipes import keep_recipe
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.run_record import InputOrigin, RecordedReason, RunRecord, RunRecords, RunStatus

log = logging.getLogger(__name__)


@dataclass
class Recorder:
    """The record of one task instance, in the deployment's own store.

    Records serve explanations only, so that a store which refuses them is told of in the log and no more.
    """

    preparation: Preparation
    identity: TaskIdentity
    datastore: Datastore
    _decided_at: float = field(default_factory=time.time, init=False)
    _running: Sensing | None = field(default=None, init=False)
    _reused: Sensing | None = field(default=None, init=False)
    _snapshot: str | None = field(default=None, init=False)
    _lost: Expense | None = field(default=None, init=False)

    @contextmanager
    def running(self, sensing: Sensing) -> Iterator[None]:
        """Record that the step runs, and why; and that it failed, when the block raises."""
        from airflow.sdk.exceptions import AirflowTaskTimeout

        self._running = sensing
        with _best_effort():
            self._lost = self._lost_before()
            keep_recipe(self.datastore, self.preparation.recipe)
            self._write("running", sensing)
        try:
            yield
        except (Exception, AirflowTaskTimeout):
            with _best_effort():
                self._write("failed", sensing)
            raise

    def reusing(self, sensing: Sensing) -> None:
        """Record that outputs were found, which are handed on at once; there is no second record of that."""
        with _best_effort():
            self._write("succeeded", sensing, sensing.reused())
            self._reused = sensing

    def attempt_lost(self, seconds: float) -> None:
        """Record that the compute target lost an attempt that had taken *seconds*."""
        expense = Expense.at(self.preparation.definition.target, seconds)
        self._lost = expense if self._lost is None else self._lost + expense
        if self._running is not None:
            with _best_effort():
                self._write("running", self._running)

    def snapshot_kept(self, digest: str) -> None:
        """Record which code is about to run, so that a failure can be explained as well."""
        self._snapshot = digest
        if self._running is not None:
            with _best_effort():
                self._write("running", self._running)

    def succeeded(self, sensing: Sensing, outcome: Outcome) -> None:
        """Record what the step hands on."""
        if self._reused is not sensing:
            with _best_effort():
                self._write("succeeded", sensing, outcome)
        if outcome.sealed:
            with _best_effort():
                self._remember(outcome)

    def _lost_before(self) -> Expense | None:
        """What earlier tries lost, and this one before its worker left it to the triggerer."""
        identity = self.identity
        instance = identity.dag_id, identity.run_id, identity.task_id, identity.map_index
        try:
            earlier = RunRecords(self.datastore).read(*instance)
        except DocumentError:
            return None
        if earlier is None or earlier.lost_seconds is None or earlier.try_number > identity.try_number:
            return None  # a greater one is of a run that was deleted, and made again under the same name
        return Expense(earlier.lost_seconds, earlier.lost_cost)

    def _remember(self, outcome: Outcome) -> None:
        """What later decisions are explained with."""
        identity, fingerprint = self.identity, outcome.manifest.fingerprint
        journal = Journal(self.datastore)
        entry = identity.dag_id, identity.task_id, identity.map_index, identity.run_id, fingerprint
        journal.record(*entry)
        if identity.map_index >= 0:
            journal.record_values(*entry, self.preparation.recipe.values_digest())
        # What was said after these outputs were sealed is of them: it withdrew their manifest.
        if outcome.decision.action == "run" and self.datastore.exists(manifest_key(fingerprint)):
            Invalidations(self.datastore).forget(fingerprint)

    def _write(self, status: RunStatus, sensing: Sensing, outcome: Outcome | None = None) -> None:
        decision, identity = sensing.decision, self.identity
        record = RunRecord(
            dag_id=identity.dag_id,
            run_id=identity.run_id,
            task_id=identity.task_id,
            map_index=identity.map_index,
            try_number=identity.try_number,
            status=status,
            action="reused" if decision.action == "reuse" else "ran",
            reasons=tuple(RecordedReason(kind=item.kind, text=item.text) for item in decision.reasons),
            fingerprint=self.preparation.fingerprint,
            attempt="",
            sealed=False,
            compared_with=sensing.compared_with,
            inputs=self._origins(),
            datasets=self._datasets(),
            pins=self.preparation.binding.pins,
            snapshot=self._snapshot,
            decided_at=self._decided_at,
            finished_at=None if status == "running" else time.time(),
            seconds=None,
            saved_seconds=decision.saved_seconds,
            saved_cost=decision.saved_cost,
            lost_seconds=None if self._lost is None else self._lost.seconds,
            lost_cost=None if self._lost is None else self._lost.cost,
            store=self.datastore.url,
        )
        RunRecords(self.datastore).write(record if outcome is None else _with(record, outcome))

    def _origins(self) -> dict[str, tuple[InputOrigin, ...]]:
        return {
            name: tuple(
                InputOrigin(
                    fingerprint=reference.fingerprint,
                    output=reference.name,
                    digest=reference.digest,
                    producer=reference.producer,
                )
                for reference in bound.source.references
            )
            for name, bound in self.preparation.binding.inputs.items()
        }

    def _datasets(self) -> dict[str, dict[str, str]]:
        return {
            name: {**dict.fromkeys(bound.dataset.paths, ""), **dict(bound.source.path_digests)}
            for name, bound in self.preparation.binding.inputs.items()
            if bound.dataset is not None
        }


def _with(record: RunRecord, outcome: Outcome) -> RunRecord:
    manifest = outcome.manifest
    return record.model_copy(
        update={
            "attempt": manifest.producer.attempt,
            "sealed": outcome.sealed,
            "producer": manifest.producer.instance,
            "snapshot": manifest.snapshot,
            "seconds": manifest.seconds,
            "cost": manifest.cost,
            "store": outcome.datastore.url,
        }
    )


@contextmanager
def _best_effort() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        log.warning("What was decided could not be recorded for later explanations: %s", error)
