"""What a task instance decided about its step, and what came of it: one small document each.

These documents serve explanations, listings and garbage collection. Reuse does not rest on them: one that is
lost or cannot be read costs an explanation, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import run_record_key, run_records_prefix
from airflow_mlpipe.store.manifest import ManifestPin

RunStatus = Literal["running", "succeeded", "failed", "marked"]

_RAN: dict[RunStatus, str] = {
    "running": "began to run, of which no end is recorded",
    "succeeded": "ran",
    "failed": "ran and failed",
    "marked": "ran until somebody marked its task as done, so that its outputs are not sealed",
}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecordedReason(_Document):
    """A reason of the decision: its kind, for programs, and its words."""

    kind: str
    text: str


class InputOrigin(_Document):
    """The output of another step that an input was: the fingerprint that made it, its name there, its
    content's digest, and the task instance that made it."""

    fingerprint: str
    output: str
    digest: str
    producer: ProducerReference


class RunRecord(_Document):
    """One task instance. *map_index* is -1 for a task that is not mapped; times are seconds since the epoch.

    - *status* is "running" from the decision to run until the step has ended; a record that stays so belongs
      to a worker that was lost. It is "marked" when the step was ended because somebody marked its task as
      succeeded or skipped;
    - *action*, *reasons*: the decision;
    - *fingerprint*: of the recipe; *attempt*: what made the outputs that were handed on, "" before there are
      any; *sealed*: whether other runs may reuse them;
    - *compared_with*: the fingerprint of the nearest earlier recipe, to which *reasons* refer, if any;
    - *producer*: the task instance that made the outputs that were handed on, None before there are any;
    - *inputs*: by input, the steps' outputs that it consisted of; datasets have none;
    - *datasets*: of inputs that are datasets, the paths as their author gave them, each with the digest of
      what was there, "" when content does not count;
    - *pins*: of inputs that are registered datasets and models, the versions, by input;
    - *snapshot*: the digest of the archived code, None while it is not known;
    - *seconds*, *cost*: how long the step ran and what that cost, whoever ran it; *saved_seconds*,
      *saved_cost*: what reusing spared; *lost_seconds*, *lost_cost*: what went into attempts of this task
      instance that were lost with their machines. None when not known, and costs without a price;
    - *store*: the URL of the datastore that holds the outputs.
    """

    schema_version: Literal[1] = 1
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    status: RunStatus
    action: Literal["reused", "ran"]
    reasons: tuple[RecordedReason, ...]
    fingerprint: str
    attempt: str
    sealed: bool
    compared_with: str | None
    producer: ProducerReference | None = None
    inputs: dict[str, tuple[InputOrigin, ...]]
    datasets: dict[str, dict[str, str]] = {}
    pins: dict[str, ManifestPin] = {}
    snapshot: str | None
    decided_at: float
    finished_at: float | None
    seconds: float | None
    saved_seconds: float | None
    cost: float | None = None
    saved_cost: float | None = None
    lost_seconds: float | None = None
    lost_cost: float | None = None
    store: str

    @property
    def instance(self) -> ProducerReference:
        """The task instance."""
        return ProducerReference(
            dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index
        )

    @property
    def step(self) -> str:
        """The task instance as ``dag/run/task`` or ``dag/run/task[index]``."""
        return str(self.instance)

    @property
    def why(self) -> str:
        """All reasons in a few words."""
        return "; ".join(reason.text for reason in self.reasons)

    def sentence(self) -> str:
        """What happened and why, to stand after the name of the task instance."""
        return f"reused {self.why}" if self.action == "reused" else f"{_RAN[self.status]}: {self.why}"

    @property
    def last_used(self) -> float:
        """When it last had to do with its outputs."""
        return self.decided_at if self.finished_at is None else self.finished_at


class RunRecords:
    """The records of a datastore. All methods raise StoreError when the store fails."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def write(self, record: RunRecord) -> None:
        """Keep *record*, in place of an earlier one of the same task instance."""
        key = run_record_key(record.dag_id, record.run_id, record.task_id, record.map_index)
        self._datastore.write(key, _raw(record))

    def end(self, instance: ProducerReference, try_number: int, status: RunStatus, at: float) -> None:
        """Note how a try ended at *at*, in seconds since the epoch, if its record says that it still runs.

        Raises DocumentError when the record is unreadable.
        """
        key = run_record_key(instance.dag_id, instance.run_id, instance.task_id, instance.map_index)
        data = self._datastore.read(key)
        if data is None:
            return
        record = _parse(data, key)
        if (record.status, record.try_number) == ("running", try_number):
            ended = record.model_copy(update={"status": status, "finished_at": at})
            self._datastore.swap(key, data, _raw(ended))  # a later try may write its own meanwhile

    def read(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> RunRecord | None:
        """The record of a task instance, None when there is none; DocumentError when it is unreadable."""
        key = run_record_key(dag_id, run_id, task_id, map_index)
        data = self._datastore.read(key)
        return None if data is None else _parse(data, key)

    def of_task(self, dag_id: str, task_id: str, map_index: int = -1) -> Iterator[RunRecord]:
        """The readable records of one task in all runs of its DAG, in no promised order."""
        anywhere = run_records_prefix(dag_id)
        leaf = run_record_key(dag_id, "-", task_id, map_index).removeprefix(f"{anywhere}/-")
        return self._readable(file.key for file in self._datastore.files(anywhere) if file.key.endswith(leaf))

    def below(self, *ids: str) -> Iterator[RunRecord]:
        """The readable records, in no promised order.

        *ids* confine them to a DAG (``dag_id``), a run (``dag_id, run_id``) or a task of a run.
        """
        prefix = run_records_prefix(*ids) if ids else run_records_prefix("-").rpartition("/")[0]
        return self._readable(file.key for file in self._datastore.files(prefix))

    def _readable(self, keys: Iterable[str]) -> Iterator[RunRecord]:
        for key in keys:
            data = self._datastore.read(key)
            if data is None:
                continue
            try:
                yield _parse(data, key)
            except DocumentError:
                continue


def _raw(record: RunRecord) -> bytes:
    return record.model_dump_json().encode() + b"\n"


def _parse(data: bytes, key: str) -> RunRecord:
    try:
        return RunRecord.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"])) or "document"
        raise DocumentError(f"the run record {key} cannot be read: {where}: {problem['msg']}") from error
