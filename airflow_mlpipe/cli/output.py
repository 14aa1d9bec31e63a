"""Printing results: for people as text and tables, for programs as JSON and YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, *, columns: Sequence[str] = ()) -> None:
    """Print *rows* in the format *output*. A table shows only *columns*, when any are named."""
    if output == "table":
        from airflow.cli.simple_table import AirflowConsole

        shown = [{name: _cell(row[name]) for name in columns or row} for row in rows]
        AirflowConsole(markup=False, highlight=False).print_as_table(shown)
    else:
        _print_data([dict(row) for row in rows], output)


def print_document(document: Mapping[str, Any], output: str, text: str) -> None:
    """Print *document* in the format *output*; people are shown *text* in its place."""
    if output == "table":
        print(text)
    else:
        _print_data(dict(document), output)


def _print_data(data: Any, output: str) -> None:
    if output == "json":
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
