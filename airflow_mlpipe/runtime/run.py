"""``Run.get_context()``: what a step's script knows about the run it is part of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.records import InputSpec, RunInfo
from airflow_mlpipe.runtime.launch_spec import launch_spec
from airflow_mlpipe.runtime.metrics import (
    CollectedMetrics,
    Kind,
    MetricEntry,
    MetricsFile,
    Scope,
    columns,
    scalar,
    scalars,
)
from airflow_mlpipe.runtime.tabular import TabularDataset

Input = str | TabularDataset
ValueT = TypeVar("ValueT")


class UnknownNameError(MLPipeError, KeyError):
    """The step has no input or output of that name."""

    def __str__(self) -> str:  # KeyError's own would put the sentence in quotes
        return str(self.args[0])


class NamedValues(dict[str, ValueT]):
    """A dict whose KeyError is a sentence that lists the names there are."""

    def __init__(self, noun: str, values: Mapping[str, ValueT]) -> None:
        super().__init__(values)
        self._noun = noun

    def __missing__(self, name: str) -> NoReturn:
        names = ", ".join(map(repr, sorted(self))) or "none at all"
        raise UnknownNameError(f"this step has no {self._noun} named {name!r}; it has: {names}")


class MetricsSink(Protocol):
    """Where metrics and tags go."""

    def append(self, entry: MetricEntry) -> None: ...

    def collected(self) -> CollectedMetrics: ...


class PrintedMetrics:
    """The sink outside a pipeline: says each entry, and remembers it."""

    def __init__(self) -> None:
        self._collected = CollectedMetrics()

    def append(self, entry: MetricEntry) -> None:
        noun = "tag" if entry.kind == "tag" else f"{entry.kind} metric"
        place = "the parent run's " if entry.scope == "parent" else ""
        sys.stdout.write(f"Offline run, nothing is stored: {place}{noun} {entry.name} = {entry.value!r}\n")
        self._collected.add(entry)

    def collected(self) -> CollectedMetrics:
        return self._collected


class LoggingRun:
    """What a run and its parent have in common: an id, metrics and tags."""

    def __init__(self, id: str, scope: Scope, sink: MetricsSink) -> None:
        self.id = id
        self._scope: Scope = scope
        self._sink = sink

    def log(self, name: str, value: object, description: str | None = None) -> None:
        """Record one number, text or bool; repeated calls with one name make a list. TypeError otherwise."""
        self._append("scalar", name, scalar(name, value), description)

    def log_list(self, name: str, value: object, description: str | None = None) -> None:
        """Record several values at once, in their order."""
        self._append("list", name, scalars(name, value), description)

    def log_row(self, name: str, description: str | None = None, **columns: object) -> None:
        """Add one row to the table *name*."""
        row = {column: [scalar(name, value)] for column, value in columns.items()}
        self._append("table", name, row, description)

    def log_table(self, name: str, value: object, description: str | None = None) -> None:
        """Record a table as a mapping from column to its values, or to a single one."""
        self._append("table", name, columns(name, value), description)

    def tag(self, name: str, value: object = None) -> None:
        """Attach a text to the run; a tag without a value has the empty text."""
        self._append("tag", name, "" if value is None else str(value))

    def _append(self, kind: Kind, name: str, value: Any, description: str | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a {kind} is {name!r}; it must be a text that is not empty")
        self._sink.append(MetricEntry(kind, self._scope, name, value, description))


class ParentRun(LoggingRun):
    """The pipeline run that the step belongs to; ``id`` is its run id."""


@dataclass(frozen=True)
class Experiment:
    """What groups the runs of a pipeline."""

    name: str


class Run(LoggingRun):
    """The run of one step, as its script sees it.

    ``input_datasets`` has the path of each file input and a :class:`TabularDataset` for each tabular one;
    ``output_datasets`` has the path of each output. Asking either for an unknown name raises
    :class:`UnknownNameError`, a KeyError that lists the names there are.
    """

    input_datasets: NamedValues[Input]
    output_datasets: NamedValues[str]

    def __init__(
        self, info: RunInfo, sink: MetricsSink, inputs: Mapping[str, Input], outputs: Mapping[str, str]
    ) -> None:
        super().__init__(info.id, "run", sink)
        self._info = info
        self.experiment = Experiment(info.experiment)
        self.parent = ParentRun(info.dag_run_id, "parent", sink)
        self.try_number = info.try_number
        self.input_datasets = NamedValues("input", inputs)
        self.output_datasets = NamedValues("output", outputs)

    @classmethod
    def get_context(cls) -> Run:
        """The run that this process belongs to; outside a pipeline, one of the same shape that prints.

        Raises DocumentError when the process was told of a run that cannot be read.
        """
        if (spec := launch_spec()) is None:
            return cls(OFFLINE, PrintedMetrics(), {}, {})
        inputs = {name: _input(name, spec_of_input) for name, spec_of_input in spec.inputs.items()}
        outputs = {name: output.path for name, output in spec.outputs.items()}
        return cls(spec.run, MetricsFile(Path(spec.directory) / "metrics.jsonl"), inputs, outputs)

    @property
    def tags(self) -> dict[str, str]:
        """The tags the run was started with, and those attached since."""
        return {**self._info.tags, **self._sink.collected().tags}

    def get_metrics(self) -> dict[str, Any]:
        """What the step logged up to now, by name; see :class:`CollectedMetrics` for the shapes."""
        return self._sink.collected().metrics

    def get_details(self) -> dict[str, Any]:
        """A few facts under their v1 names."""
        return {
            "runId": self.id,
            "status": "Running",
            "experimentName": self.experiment.name,
            "parentRunId": self.parent.id,
            "tags": self.tags,
            "portalUrl": self._info.run_url,
        }

    def complete(self) -> None:
        """Flush what was printed. The run itself ends with its process."""
        sys.stdout.flush()
        sys.stderr.flush()


OFFLINE = RunInfo(
    id="offline",
    experiment="offline",
    dag_id="offline",
    dag_run_id="offline",
    task_id="offline",
    map_index=-1,
    try_number=1,
)


def _input(name: str, spec: InputSpec) -> Input:
    if spec.kind == "tabular":
        return TabularDataset(spec.paths, spec.definition, name=name)
    return spec.paths[0]
