"""What the datastores of a deployment know of earlier runs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from airflow_mlpipe.errors import DocumentError, NotFoundError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.lookup import readable_manifest
from airflow_mlpipe.pipeline.recipes import recipe_of
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import snapshot_key
from airflow_mlpipe.store.manifest import Manifest
from airflow_mlpipe.store.run_record import RunRecord, RunRecords
from airflow_mlpipe.store.snapshot import read_files

_MOST_NAMED = 20


@dataclass(frozen=True)
class PastRun:
    """A recipe, by its fingerprint; the task instance that had it, and that one's record, as far as known."""

    fingerprint: str
    instance: ProducerReference | None = None
    record: RunRecord | None = None

    @classmethod
    def of(cls, record: RunRecord) -> PastRun:
        """The run that *record* speaks of."""
        return cls(record.fingerprint, record.instance, record)

    def __str__(self) -> str:
        return f"the recipe {self.fingerprint[:8]}" if self.instance is None else str(self.instance)


class History:
    """The records, recipes and code of earlier runs. All methods raise StoreError when a store fails."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._records = RunRecords(stores.own)
        self._journal = Journal(stores.own)

    def record(self, instance: ProducerReference) -> RunRecord:
        """The record of a task instance; DocumentError when it is unreadable.

        NotFoundError when there is none; it names what has one.
        """
        if (found := self._read(instance)) is not None:
            return found
        dag_id, run_id, task_id = instance.dag_id, instance.run_id, instance.task_id
        indexes = sorted(record.map_index for record in self._records.below(dag_id, run_id, task_id))
        if indexes:
            which = "is not mapped" if indexes == [-1] else f"has the map indexes {_names(indexes)}"
            raise NotFoundError(f"{instance} has no record; the task {which} in that run")
        if runs := [record.run_id for record in self.runs(dag_id, task_id, instance.map_index)]:
            raise NotFoundError(f"{instance} has no record; runs of the task that have one: {_names(runs)}")
        raise NotFoundError(
            f"{instance} has no record in {self._stores.own.url}, and no other run of the task has one; "
            "correct the ids, or run the step: it leaves a record when it decides"
        )

    def runs(self, dag_id: str, task_id: str, map_index: int) -> list[RunRecord]:
        """The readable records of a task in all runs, the latest decision first."""
        found = self._records.of_task(dag_id, task_id, map_index)
        return sorted(found, key=lambda record: record.decided_at, reverse=True)

    def before(self, record: RunRecord) -> list[PastRun]:
        """The earlier runs of the task, the latest first."""
        return [
            PastRun.of(other)
            for other in self.runs(record.dag_id, record.task_id, record.map_index)
            if other.run_id != record.run_id and other.decided_at <= record.decided_at
        ]

    def nearest(self, record: RunRecord, fingerprint: str) -> PastRun:
        """An earlier run of the task that had *fingerprint*, else whoever made outputs of it.

        The journal is asked first, because reading the records of all runs may take long.
        """
        run_id = self._journal.run_of(record.dag_id, record.task_id, record.map_index, fingerprint)
        if run_id is not None and run_id != record.run_id:
            found = self.run(record.instance.model_copy(update={"run_id": run_id}), fingerprint)
            if found.record is not None:
                return found
        for earlier in self.before(record):
            if earlier.fingerprint == fingerprint:
                return earlier
        manifest = self.manifest(fingerprint)
        return PastRun(fingerprint) if manifest is None else self.run(manifest.producer.instance, fingerprint)

    def run(self, instance: ProducerReference, fingerprint: str) -> PastRun:
        """What is known of a task instance that had *fingerprint*; its record may speak of a later try."""
        try:
            record = self._read(instance)
        except DocumentError:
            record = None
        is_its = record is not None and record.fingerprint == fingerprint
        return PastRun(fingerprint, instance, record if is_its else None)

    def recipe(self, run: PastRun) -> Recipe:
        """The recipe of *run*; NotFoundError when no store has it any more."""
        for datastore in self._stores:
            if (recipe := recipe_of(datastore, run.fingerprint)) is not None:
                return recipe
        raise NotFoundError(f"what {run} was made from is not in the datastore any more")

    def manifest(self, fingerprint: str) -> Manifest | None:
        """The first manifest that can be read, None when there is none."""
        found = readable_manifest(fingerprint, self._stores)
        return None if found is None else found[1]

    def code(self, run: PastRun, names: Collection[str], *, largest: int) -> Mapping[str, bytes] | None:
        """The files *names* of the code of *run*, each cut after *largest* bytes; not all need be in it.

        None when the snapshot is not there any more, or damaged.
        """
        digest = None if run.record is None else run.record.snapshot
        if digest is None and (manifest := self.manifest(run.fingerprint)) is not None:
            digest = manifest.snapshot
        if digest is None:
            return None
        for datastore in self._stores:
            data = datastore.read(snapshot_key(digest))
            if data is not None and hashlib.sha256(data).hexdigest() == digest:
                return read_files(data, names, largest=largest)
        return None

    def _read(self, instance: ProducerReference) -> RunRecord | None:
        return self._records.read(instance.dag_id, instance.run_id, instance.task_id, instance.map_index)


def _names(items: Collection[object]) -> str:
    return listing([str(item) for item in items], _MOST_NAMED)
