"""Deleting the garbage that a survey has found.

Manifests go first, then what they made real: a kill in between leaves attempts without a manifest, which
are garbage to the next survey. Between the two the run records are read once more. A step that reuses
outputs records that it does, and only then looks whether their manifest is still there. So either it sees
the manifest gone and runs, or its record is seen here and the outputs stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.garbage.census import Uses, attempts_in, digests_in, registered_models
from airflow_mlpipe.store.garbage.leftovers import remove_leftover
from airflow_mlpipe.store.garbage.limits import Garbage
from airflow_mlpipe.store.garbage.survey import Survey
from airflow_mlpipe.store.invalidation import COLLECTOR, Invalidations
from airflow_mlpipe.store.layout import MODEL_FILES, attempt_prefix, lease_key, manifest_key, snapshot_key
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.run_record import RunRecord


@dataclass
class Collected:
    """What came of it: what is gone, what turned out to be in use, and what could not be deleted and why."""

    gone: list[Garbage] = field(default_factory=list)
    spared: list[Garbage] = field(default_factory=list)
    failed: list[tuple[Garbage, str]] = field(default_factory=list)


class Collector:
    """Deletes what *survey* calls garbage, unless it has come into use since."""

    def __init__(self, survey: Survey, progress: Progress) -> None:
        self._survey = survey
        self._datastore = survey.datastore
        self._progress = progress
        self._collected = Collected()
        self._resumed: set[str] = set()  # attempts to which somebody came back

    def collect(self) -> Collected:
        """Delete it. What the store refuses to delete is told in the answer, and the rest goes on.

        Raises StoreError when the store cannot be read any more.
        """
        garbage = self._survey.garbage
        self._progress.expect(sum(item.size for item in garbage))
        self._collect_outputs([item for item in garbage if item.kind == "outputs"])
        deleters: dict[str, Callable[[Garbage], bool]] = {
            "lease": self._delete_lease,
            "attempt": self._delete_attempt,
            "model": self._delete_model,
            "snapshot": lambda item: self._datastore.delete(snapshot_key(item.name)),
            "record": self._delete_record,
            "note": lambda item: self._datastore.delete(item.name),
            "temporary": lambda item: remove_leftover(self._datastore, item.name, is_folder=False),
            "folder": lambda item: remove_leftover(self._datastore, item.name, is_folder=True),
        }
        for item in garbage:
            if item.kind in deleters and self._is_done(item, deleters[item.kind]):
                self._count(item)
        return self._collected

    def _collect_outputs(self, outputs: list[Garbage]) -> None:
        withdrawn = [item for item in outputs if self._is_done(item, self._withdraw)]
        if not withdrawn:
            return
        before, now = self._survey.uses, self._survey.read_uses()
        for item in withdrawn:
            is_used = item.name in now.held or _state(now, item.name) != _state(before, item.name)
            if is_used:
                self._collected.spared.append(item)
            elif self._is_done(item, self._delete_outputs):
                self._count(item)

    def _is_done(self, item: Garbage, delete: Callable[[Garbage], bool]) -> bool:
        """Whether *item* is gone now. False means that it came into use, or that the store refuses."""
        try:
            if delete(item):
                return True
            self._collected.spared.append(item)
        except StoreError as error:
            self._collected.failed.append((item, str(error)))
        return False

    def _count(self, item: Garbage) -> None:
        self._collected.gone.append(item)
        self._progress.advance(item.size)

    def _withdraw(self, item: Garbage) -> bool:
        manifest = self._datastore.read(manifest_key(item.name))
        seen = self._survey.census.sealed[item.name].state
        if manifest is None or hashlib.sha256(manifest).digest() != seen:
            return False
        if self._datastore.exists(lease_key(item.name)):
            return False
        return Invalidations(self._datastore).invalidate(item.name, COLLECTOR, item.why, seen=manifest)

    def _delete_outputs(self, item: Garbage) -> bool:
        for attempt in self._survey.attempts_of(item.name):
            self._datastore.delete_tree(attempt_prefix(attempt))
        return True

    def _delete_lease(self, item: Garbage) -> bool:
        record = self._survey.census.leases[item.name].record
        if self._datastore.swap(lease_key(item.name), record.raw, None):
            return True
        self._resumed.update(record.attempts)
        return False

    def _delete_attempt(self, item: Garbage) -> bool:
        if item.name in self._resumed or self._is_taken_up(item.name):
            return False
        self._datastore.delete_tree(attempt_prefix(item.name))
        return True

    def _delete_model(self, item: Garbage) -> bool:
        """Delete files of a model, unless a version has come to name them."""
        if item.name in registered_models(self._datastore):
            return False
        self._datastore.delete_tree(f"{MODEL_FILES}/{item.name}")
        return True

    def _is_taken_up(self, attempt: str) -> bool:
        """Whether somebody may be sealing, or has sealed, what a lost worker began.

        Only who takes over a lease that names an attempt goes on with it. So without a lease nobody does, and
        who has done so sealed before giving the lease back.
        """
        spec = self._datastore.read(f"{attempt_prefix(attempt)}/spec.json") or b""
        for fingerprint in digests_in(spec):
            if self._datastore.exists(lease_key(fingerprint)):
                return True
            if attempt in attempts_in(self._datastore.read(manifest_key(fingerprint)) or b""):
                return True
        return False

    def _delete_record(self, item: Garbage) -> bool:
        data = self._datastore.read(item.name)
        if data is None:
            return True
        try:
            record = RunRecord.model_validate_json(data)
        except ValidationError:
            return False
        return record.last_used == item.last_used and self._datastore.swap(item.name, data, None)


def _state(uses: Uses, fingerprint: str) -> int:
    """The state of a fingerprint's use, 0 when no record speaks of it."""
    use = uses.fingerprints.get(fingerprint)
    return use.state if use else 0
