"""Tables of measured flowers, as CSV files with a line of names at the top."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

MEASURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Iterable[dict[str, str]], columns: Iterable[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def measures(rows: Iterable[dict[str, str]]) -> list[list[float]]:
    """The four lengths of each flower, in cm."""
    return [[float(row[name]) for name in MEASURES] for row in rows]
