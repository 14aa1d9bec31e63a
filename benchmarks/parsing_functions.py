"""Parsing a DAG file of many functions as steps beside one of as many functions as Airflow's tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.parsing import DagFile, Sample, compared, report_on
from benchmarks.report import Comparison, Report

DECORATORS = {
    "@step": ("airflow_mlpipe", "step", "airflow_mlpipe.decorators.step"),
    "@task": ("airflow.sdk", "task", "airflow.providers.standard.decorators.python"),
}

OPENING = """\
from __future__ import annotations
from typing import Any
from airflow.sdk import DAG
from {module} import {name}

SCALE = {{"rows": 3.0, "columns": 4.0}}

def scaled(values: list[float], name: str) -> list[float]:
    return [value * SCALE[name] for value in values]

def mean(values: list[float]) -> float:
    return sum(values) / len(values)
"""
FUNCTION = """
@{name}
def task_{number:03}(values: list[float], weight: float = 0.5, name: str = "rows") -> list[float]:
    middle = mean(scaled(values, name))
    return [weight * middle + (1 - weight) * value for value in values]
"""
PIPELINE = """
with DAG("functions"):
    values: Any = [1.0, 2.0]
"""
CALL = "    values = task_{number:03}(values, weight=0.{number:03})\n"


def measure(folder: Path, *, count: int, rounds: int) -> Report:
    """Parse each file *rounds* times in turns, after once to warm the disk's cache.

    A task's process parses its DAG file as the DAG processor does, and like it has imported Airflow before.
    """
    files = {kind: _write_file(folder / "dags", kind, count) for kind in DECORATORS}
    return report_on("parsing_functions", files, _comparisons, folder, rounds)


def _write_file(folder: Path, kind: str, count: int) -> DagFile:
    module, name, imported = DECORATORS[kind]
    numbers = range(count)
    text = OPENING.format(module=module, name=name)
    text += "".join(FUNCTION.format(name=name, number=number) for number in numbers)
    text += PIPELINE + "".join(CALL.format(number=number) for number in numbers)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_functions.py"
    path.write_text(text)
    return DagFile(path, imported, count)


def _comparisons(samples: Mapping[str, Sequence[Sample]]) -> Iterator[Comparison]:
    return compared(samples["@step"], samples["@task"], "@task")
