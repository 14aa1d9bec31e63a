"""The metrics and tags of an attempt: one JSON document a line in ``metrics.jsonl``.

A line is ``{"kind", "scope", "name", "value", "at"}`` and, when given, ``"description"``:

- ``kind`` is ``scalar``, ``list`` (a list of scalars), ``table`` (column name to list of scalars),
  ``tag`` (a text) or ``property`` (a text that stays as it was first written);
- ``scope`` is ``run`` for the step itself, ``parent`` for the pipeline run it belongs to;
- ``at`` is in seconds since the epoch.

A scalar is a number, a text or a bool. JSON has no word for the floats that are not finite: they are
the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, here and in everything made from it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from airflow_mlpipe.runtime.documents import append_line

Scalar = int | float | str | bool
Kind = Literal["scalar", "list", "table", "tag", "property"]
Scope = Literal["run", "parent"]

MAXIMUM_BYTES = 1024 * 1024
_NOTHING = object()


@dataclass(frozen=True)
class MetricEntry:
    """One call of a ``log`` method, with a value that JSON can hold."""

    kind: Kind
    scope: Scope
    name: str
    value: Any
    description: str | None = None


@dataclass
class CollectedMetrics:
    """What an attempt logged, by name.

    A name logged once has its value, one logged repeatedly or as a list has a list, a table has
    ``{column: [value, ...]}`` in which None stands where a row lacks the column. ``bad_lines`` counts what
    could not be used: broken lines, and values of another shape than the name already has.
    ``truncated`` says that there was more than the 1 MiB that is read.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    parent_metrics: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    parent_tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    parent_properties: dict[str, str] = field(default_factory=dict)
    bad_lines: int = 0
    truncated: bool = False

    def add(self, entry: MetricEntry) -> None:
        """Take in one entry."""
        is_run = entry.scope == "run"
        if entry.kind == "tag":
            (self.tags if is_run else self.parent_tags)[entry.name] = entry.value
            return
        if entry.kind == "property":
            properties = self.properties if is_run else self.parent_properties
            properties.setdefault(entry.name, entry.value)
            return
        metrics = self.metrics if is_run else self.parent_metrics
        known = metrics.setdefault(entry.name, {} if entry.kind == "table" else _NOTHING)
        if (entry.kind == "table") != isinstance(known, dict):
            self.bad_lines += 1
        elif entry.kind == "table":
            _append_rows(known, entry.value)
        elif known is _NOTHING:
            metrics[entry.name] = entry.value
        else:
            metrics[entry.name] = series = known if isinstance(known, list) else [known]
            series.extend(entry.value if isinstance(entry.value, list) else [entry.value])


class MetricsFile:
    """``metrics.jsonl``, to which several processes may log at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: MetricEntry) -> None:
        """Add one line. Raises OSError when the disk has no room for it."""
        document = {
            "kind": entry.kind,
            "scope": entry.scope,
            "name": entry.name,
            "value": entry.value,
            "at": time.time(),
        }
        if entry.description is not None:
            document["description"] = entry.description
        append_line(self._path, json.dumps(document, allow_nan=False), f"metric {entry.name!r}")

    def collected(self) -> CollectedMetrics:
        """What was logged up to now."""
        return collect(self._path)


def collect(path: Path) -> CollectedMetrics:
    """Summarize the metrics file at *path*; a missing file is an empty one, a torn last line is left out."""
    try:
        with path.open("rb") as stream:
            return collected_from(stream.read(MAXIMUM_BYTES + 1))
    except FileNotFoundError:
        return CollectedMetrics()


def collected_from(content: bytes) -> CollectedMetrics:
    """The same for a metrics file with *content*."""
    collected = CollectedMetrics(truncated=len(content) > MAXIMUM_BYTES)
    *lines, _torn = content[:MAXIMUM_BYTES].split(b"\n")
    for line in lines:
        try:
            entry = _read_entry(line)
        except (ValueError, RecursionError):
            collected.bad_lines += 1
        else:
            collected.add(entry)
    return collected


def scalar(name: str, value: object) -> Scalar:
    """*value* as JSON can hold it; numpy's and torch's single values count as the number they hold.

    Raises TypeError for anything that is not a number, a text or a bool.
    """
    if not isinstance(value, (int, float, str)) and callable(item := getattr(value, "item", None)):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"metric {name!r} is {value!r}, which is not a single value: {error}") from error
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _json_float(float(value))
    raise TypeError(
        f"metric {name!r} is {value!r} of type {type(value).__name__}; log a number, a text or a bool, "
        "and several of them with log_list or log_row"
    )


def scalars(name: str, values: object) -> list[Scalar]:
    """*values*, any iterable but a text, as a list of scalars; TypeError otherwise."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"metric {name!r} is {values!r}; log_list takes a list, log takes a single value")
    return [scalar(name, value) for value in values]


def columns(name: str, table: object) -> dict[str, list[Scalar]]:
    """*table*, a mapping from column to values or to one value, as lists of scalars; TypeError otherwise."""
    if not isinstance(table, Mapping):
        raise TypeError(f"metric {name!r} is {table!r}; log_table takes a mapping from column to values")
    return {
        str(column): scalars(name, values) if _is_several(values) else [scalar(name, values)]
        for column, values in table.items()
    }


def _is_several(values: object) -> bool:
    if getattr(values, "ndim", None) == 0:  # a numpy scalar has __iter__ but nothing to iterate over
        return False
    return isinstance(values, Iterable) and not isinstance(values, (str, bytes))


def _json_float(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _read_entry(line: bytes) -> MetricEntry:
    document = json.loads(line, parse_constant=_refuse)
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        raise ValueError("not an entry")
    kind, scope, value = document.get("kind"), document.get("scope"), document.get("value")
    holds = _SHAPES.get(kind) if isinstance(kind, str) else None
    if scope not in ("run", "parent") or holds is None or not holds(value):
        raise ValueError("not an entry of a known kind")
    return MetricEntry(cast(Kind, kind), scope, document["name"], value, document.get("description"))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_scalar(value: object) -> bool:
    return isinstance(value, (int, float, str))


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_scalar, value))


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_list, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_SHAPES = {
    "scalar": _is_scalar,
    "list": _is_list,
    "table": _is_table,
    "tag": _is_text,
    "property": _is_text,
}


def _append_rows(table: dict[str, list[Any]], rows: dict[str, list[Any]]) -> None:
    above, below = _height(table), _height(rows)
    for column in rows:
        table.setdefault(column, [None] * above)
    for column, values in table.items():
        values.extend(rows.get(column, []))
        values.extend([None] * (above + below - len(values)))


def _height(table: dict[str, list[Any]]) -> int:
    return max(map(len, table.values()), default=0)
