"""The places of one attempt of a step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.reuse.code_tree import BUNDLE
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, kept_files_key, output_key
from airflow_mlpipe.targets.contract import AttemptDirectory


@dataclass(frozen=True)
class AttemptPlaces:
    """Where an attempt keeps its records, its working directory and its outputs on this worker.

    All follow from the attempt's id, so that another worker process finds them again after a crash.
    With a datastore on a local disk, records and outputs are written to their final place at once.
    """

    attempt: str
    scratch: Path
    records: Path
    outputs: Path

    @classmethod
    def of(cls, attempt: str, settings: Settings, datastore: Datastore) -> AttemptPlaces:
        scratch = settings.work_directory / attempt
        records = datastore.local_path(attempt_prefix(attempt)) or scratch / "attempt"
        return cls(attempt, scratch, records, records / "outputs")

    @property
    def directory(self) -> AttemptDirectory:
        """The attempt's records."""
        return AttemptDirectory(self.records, self.attempt)

    @property
    def code(self) -> Path:
        """The working directory of the step's process: its own copy of the source directory."""
        return self.scratch / "code"

    @property
    def along(self) -> Path:
        """The part of the working directory that came along from the DAG bundle."""
        return self.code / BUNDLE

    @property
    def inputs(self) -> Path:
        return self.scratch / "inputs"

    @property
    def files(self) -> Path:
        """What the script gave to its run to keep."""
        return self.records / "files"

    @property
    def files_key(self) -> str:
        """The key of what the script gave to its run to keep, and below ``outputs`` left in ``./outputs``."""
        return kept_files_key(self.attempt)

    def output(self, name: str) -> Path:
        """Where the script writes an output."""
        return self.outputs / name

    def output_key(self, name: str) -> str:
        """The key of an output in the datastore."""
        return output_key(self.attempt, name)
