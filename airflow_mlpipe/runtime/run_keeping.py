"""Where the run of a script keeps what it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from airflow_mlpipe.records import LaunchSpec, Registration
from airflow_mlpipe.runtime.earlier_runs import ChildRun, children_in
from airflow_mlpipe.runtime.kept_files import AttemptFiles, KeptFiles, OfflineFiles
from airflow_mlpipe.runtime.logging_run import MetricsSink, PrintedMetrics
from airflow_mlpipe.runtime.metrics import MetricsFile
from airflow_mlpipe.runtime.registrations import ask_for


@dataclass(frozen=True)
class RunKeeping:
    """Where what a run is told is kept; *children* tells of earlier steps."""

    metrics: MetricsSink
    files: KeptFiles
    register: Callable[[Registration], object]
    children: Callable[[], list[ChildRun]]

    @classmethod
    def of(cls, spec: LaunchSpec) -> RunKeeping:
        """That of the attempt which *spec* describes."""
        directory = Path(spec.directory)
        return cls(
            MetricsFile(directory / "metrics.jsonl"),
            AttemptFiles(directory, Path(spec.working_directory)),
            partial(ask_for, directory=directory),
            partial(children_in, directory),
        )

    @classmethod
    def offline(cls) -> RunKeeping:
        """Outside a pipeline: everything is said, and nothing kept."""
        return cls(PrintedMetrics(), OfflineFiles(), _say_registration, list)


def _say_registration(registration: Registration) -> None:
    sys.stdout.write(
        f"Offline run, nothing is stored: {registration.kind} {registration.name} = "
        f"{registration.output or registration.inside}\n"
    )
