"""Printing results: for people as text and tables, for programs as JSON and YAML."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from airflow_mlpipe.cli.command import results

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_rows(rows: Sequence[Mapping[str, Any]], output: str, *, columns: Sequence[str] = ()) -> None:
    """Print *rows* in the format *output*. A table shows only *columns*, when any are named."""
    with results():
        if output == "table":
            _print_table([{name: _cell(row[name]) for name in columns or row} for row in rows])
        else:
            _print_data([dict(row) for row in rows], output)


def print_document(document: Mapping[str, Any], output: str, text: str) -> None:
    """Print *document* in the format *output*; people are shown *text* in its place."""
    if output == "table":
        print_text(text)
        return
    with results():
        _print_data(dict(document), output)


def print_text(text: str) -> None:
    """Print *text*, for people."""
    with results():
        print(printable(text))


def printable(text: str) -> str:
    """*text* without what a terminal would take for a command: what is stored may hold anything."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _print_table(rows: list[dict[str, str]]) -> None:
    from airflow.cli.simple_table import AirflowConsole

    console = AirflowConsole(markup=False, highlight=False)
    # Printed as text, because a console ends the program when nobody reads on.
    with console.capture() as table:
        console.print_as_table(rows)
    print(table.get(), end="")


def _print_data(data: Any, output: str) -> None:
    # Programs are to read the same characters everywhere, so those that cannot be written are escaped.
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    if output == "json":
        print(json.dumps(data, indent=2, ensure_ascii=not is_unicode))
    else:
        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=is_unicode), end="")


def _cell(value: Any) -> str:
    return "" if value is None else printable(str(value))
