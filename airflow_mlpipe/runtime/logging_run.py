"""What a run and its parent have in common: metrics, tags, properties, and pictures."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.kept_files import KeptFiles
from airflow_mlpipe.runtime.metrics import (
    CollectedMetrics,
    Kind,
    MetricEntry,
    Scope,
    columns,
    scalar,
    scalars,
)

# What the charts of SDK v1 hold besides ``schema_version`` and ``data``.
_CHARTS = {
    "log_accuracy_table": "accuracy_table",
    "log_confusion_matrix": "confusion_matrix",
    "log_predictions": "predictions",
    "log_residuals": "residuals",
}


class MetricsSink(Protocol):
    """Where metrics and tags go."""

    def append(self, entry: MetricEntry) -> None: ...

    def collected(self) -> CollectedMetrics: ...


class PrintedMetrics:
    """The sink outside a pipeline: says each entry, and remembers it."""

    def __init__(self) -> None:
        self._collected = CollectedMetrics()

    def append(self, entry: MetricEntry) -> None:
        noun = entry.kind if entry.kind in ("tag", "property") else f"{entry.kind} metric"
        place = "the parent run's " if entry.scope == "parent" else ""
        sys.stdout.write(f"Offline run, nothing is stored: {place}{noun} {entry.name} = {entry.value!r}\n")
        self._collected.add(entry)

    def collected(self) -> CollectedMetrics:
        return self._collected


class LoggingRun:
    """A run that can be told metrics, tags and properties."""

    def __init__(self, id: str, scope: Scope, sink: MetricsSink, files: KeptFiles) -> None:
        self.id = id
        self._scope: Scope = scope
        self._sink = sink
        self._files = files

    # -- metrics ----------------------------------------------------------------------------------------

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

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Keep a picture: the file at *path*, or *plot*, a figure or module of matplotlib's, as PNG.

        The metric *name* is the name of the kept file. TypeError unless one of the two is given.
        """
        if (path is None) == (plot is None):
            raise TypeError(f"image {name!r} needs either path= or plot=, and not both")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "plot.png" if path is None else Path(path)
            if plot is not None:
                plot.savefig(source, format="png")
            self._log_file(name, source, source.suffix, description)

    def log_confusion_matrix(self, name: str, value: object, description: str = "") -> None:
        """Keep a chart as JSON: a dict or text with ``schema_type``, ``schema_version`` and ``data``.

        The metric *name* is the name of the kept file. TypeError for anything else.
        """
        self._log_chart("log_confusion_matrix", name, value, description)

    def log_accuracy_table(self, name: str, value: object, description: str = "") -> None:
        """The same for a table of accuracies."""
        self._log_chart("log_accuracy_table", name, value, description)

    def log_predictions(self, name: str, value: object, description: str = "") -> None:
        """The same for predictions beside true values."""
        self._log_chart("log_predictions", name, value, description)

    def log_residuals(self, name: str, value: object, description: str = "") -> None:
        """The same for residuals."""
        self._log_chart("log_residuals", name, value, description)

    # -- tags and properties ----------------------------------------------------------------------------

    def tag(self, name: str, value: object = None) -> None:
        """Attach a text to the run; a tag without a value has the empty text."""
        self._append("tag", name, "" if value is None else str(value))

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Attach several."""
        for name, value in tags.items():
            self.tag(name, value)

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Attach texts that stay as they are; UserError for a name that has another text already."""
        known = self.get_properties()
        for name, value in properties.items():
            if known.setdefault(name, str(value)) != str(value):
                raise UserError(
                    f"property {name!r} is {known[name]!r}, and a property stays as it is; "
                    f"use a tag for what changes to {str(value)!r}"
                )
            self._append("property", name, str(value))

    def get_tags(self) -> dict[str, str]:
        """The tags attached so far."""
        collected = self._sink.collected()
        return dict(collected.tags if self._scope == "run" else collected.parent_tags)

    def get_properties(self) -> dict[str, str]:
        """The properties attached so far."""
        collected = self._sink.collected()
        return dict(collected.properties if self._scope == "run" else collected.parent_properties)

    @property
    def tags(self) -> dict[str, str]:
        """The same as :meth:`get_tags`."""
        return self.get_tags()

    @property
    def properties(self) -> dict[str, str]:
        """The same as :meth:`get_properties`."""
        return self.get_properties()

    def get_metrics(self, name: str | None = None, **_of_v1: object) -> dict[str, Any]:
        """What this step logged here up to now, by name, or only *name*; for the shapes see CollectedMetrics.

        SDK v1's ``recursive`` and other keywords ask about runs below this one, of which there are none.
        """
        collected = self._sink.collected()
        return chosen(collected.metrics if self._scope == "run" else collected.parent_metrics, name)

    # -- how it is kept ---------------------------------------------------------------------------------

    def _append(self, kind: Kind, name: str, value: Any, description: str | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a {kind} is {name!r}; it must be a text that is not empty")
        self._sink.append(MetricEntry(kind, self._scope, name, value, description or None))

    def _log_chart(self, method: str, name: str, value: object, description: str) -> None:
        chart = json.loads(value) if isinstance(value, str) else value
        expected = _CHARTS[method]
        if not isinstance(chart, Mapping) or chart.get("schema_type", expected) != expected:
            raise TypeError(
                f"{method}({name!r}) takes a dict or JSON text with 'schema_type': {expected!r}, "
                f"'schema_version' and 'data', not {value!r}"
            )
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "chart.json"
            source.write_text(json.dumps(chart, indent=2) + "\n", "utf8")
            self._log_file(name, source, ".json", description)

    def _log_file(self, name: str, source: Path, suffix: str, description: str) -> None:
        kept = free_name(name, suffix, self._files.names())
        self._files.keep(kept, source)
        self.log(name, kept, description)


def chosen(metrics: dict[str, Any], name: str | None) -> dict[str, Any]:
    """All *metrics*, or only *name*, as far as it is there."""
    return {key: value for key, value in metrics.items() if name is None or key == name}


def free_name(name: str, suffix: str, taken: list[str]) -> str:
    """The name of a file for the metric *name*, numbered from the second one on."""
    stem = name.removesuffix(suffix) if PurePosixPath(name).suffix == suffix else name
    candidate, number = f"{stem}{suffix}", 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}_{number}{suffix}"
    return candidate
