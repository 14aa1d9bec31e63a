"""What the word STEP means on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import steps_prefix
from airflow_mlpipe.store.manifest import Manifest, ManifestMissing, read_manifest
from airflow_mlpipe.store.run_record import RunRecord, RunRecords

_FINGERPRINT = re.compile(r"[0-9a-f]{8,64}")
_INSTANCE = re.compile(r"([^/]+)/([^/]+)/([^/]+?)(?:\[(\d{1,9})\])?")
_WHOLE = 64


@dataclass(frozen=True)
class Selected:
    """A fingerprint in a datastore, and the task instance by which it was named, if it was."""

    datastore: Datastore
    fingerprint: str
    record: RunRecord | None = None

    def manifest(self) -> Manifest:
        """The manifest that now counts. NotFoundError when nothing is sealed; DocumentError, StoreError."""
        try:
            return read_manifest(self.datastore, self.fingerprint)
        except ManifestMissing as error:
            who = self.record.step if self.record else self.fingerprint
            raise NotFoundError(
                f"{who} has no sealed outputs: it failed, was told not to store, or they were invalidated or "
                "collected"
            ) from error


def select(stores: Stores, step: str) -> Selected:
    """What *step* names: a fingerprint, the first 8 or more digits of one, or ``DAG/RUN/TASK[INDEX]``.

    Raises NotFoundError when it names nothing, or more than one thing.
    """
    if (instance := _INSTANCE.fullmatch(step)) is not None:
        return _by_instance(stores, step, *instance.groups())
    if _FINGERPRINT.fullmatch(step):
        return _by_fingerprint(stores, step)
    raise NotFoundError(
        f"{step!r} names no step; give a fingerprint, its first 8 or more digits, or DAG/RUN/TASK"
    )


def _by_instance(stores: Stores, step: str, dag_id: str, run_id: str, task_id: str, index: str) -> Selected:
    record = RunRecords(stores.own).read(dag_id, run_id, task_id, -1 if index is None else int(index))
    if record is None:
        raise NotFoundError(
            f"no run of {step} is recorded in {stores.own.url}; try `airflow mlpipe runs {dag_id}`"
        )
    datastore = next((store for store in stores if store.url == record.store), stores.own)
    return Selected(datastore, record.fingerprint, record)


def _by_fingerprint(stores: Stores, digits: str) -> Selected:
    found = {fingerprint: store for store in reversed([*stores]) for fingerprint in _known(store, digits)}
    if not found:
        raise NotFoundError(
            f"no fingerprint that begins with {digits} is in {', '.join(store.url for store in stores)}; "
            "`airflow mlpipe runs DAG` lists what is there"
        )
    if len(found) > 1:
        raise NotFoundError(
            f"{digits} is the beginning of {len(found)} fingerprints; give more digits:\n  "
            + "\n  ".join(sorted(found))
        )
    ((fingerprint, datastore),) = found.items()
    return Selected(datastore, fingerprint)


def _known(datastore: Datastore, digits: str) -> Iterator[str]:
    """The fingerprints that begin with *digits*, as far as anything was ever kept under them."""
    for file in datastore.files(steps_prefix(digits[:2])):
        fingerprint, _, name = file.key.removeprefix(f"{steps_prefix(digits[:2])}/").partition("/")
        if fingerprint.startswith(digits) and len(fingerprint) == _WHOLE and name != "lease.json":
            yield fingerprint
