from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from airflow_mlpipe.runtime.metrics import (
    MAXIMUM_BYTES,
    MetricEntry,
    MetricsFile,
    collect,
    columns,
    scalar,
    scalars,
)


@pytest.fixture
def file(tmp_path: Path) -> MetricsFile:
    return MetricsFile(tmp_path / "metrics.jsonl")


def test_a_metric_logged_once_is_its_value(file: MetricsFile) -> None:
    file.append(MetricEntry("scalar", "run", "loss", 0.5))
    assert file.collected().metrics == {"loss": 0.5}


def test_a_metric_logged_repeatedly_is_a_list(file: MetricsFile) -> None:
    for value in (3, 2, 1):
        file.append(MetricEntry("scalar", "run", "loss", value))
    assert file.collected().metrics == {"loss": [3, 2, 1]}


def test_a_list_stays_a_list_and_grows(file: MetricsFile) -> None:
    file.append(MetricEntry("list", "run", "loss", [3]))
    assert file.collected().metrics == {"loss": [3]}
    file.append(MetricEntry("scalar", "run", "loss", 2))
    file.append(MetricEntry("list", "run", "loss", [1, 0]))
    assert file.collected().metrics == {"loss": [3, 2, 1, 0]}


def test_rows_make_columns_and_gaps_are_none(file: MetricsFile) -> None:
    file.append(MetricEntry("table", "run", "roc", {"fpr": [0.1], "tpr": [0.7]}))
    file.append(MetricEntry("table", "run", "roc", {"fpr": [0.2]}))
    file.append(MetricEntry("table", "run", "roc", {"fpr": [0.3], "note": ["last"]}))
    assert file.collected().metrics == {
        "roc": {"fpr": [0.1, 0.2, 0.3], "tpr": [0.7, None, None], "note": [None, None, "last"]}
    }


def test_columns_of_unequal_length_are_filled_up(file: MetricsFile) -> None:
    file.append(MetricEntry("table", "run", "t", {"a": [1, 2], "b": [3]}))
    assert file.collected().metrics == {"t": {"a": [1, 2], "b": [3, None]}}


def test_the_parents_metrics_and_tags_are_kept_apart(file: MetricsFile) -> None:
    file.append(MetricEntry("scalar", "run", "loss", 1))
    file.append(MetricEntry("scalar", "parent", "loss", 2))
    file.append(MetricEntry("tag", "run", "stage", "old"))
    file.append(MetricEntry("tag", "run", "stage", "new"))
    file.append(MetricEntry("tag", "parent", "stage", "whole"))
    collected = file.collected()
    assert (collected.metrics, collected.parent_metrics) == ({"loss": 1}, {"loss": 2})
    assert (collected.tags, collected.parent_tags) == ({"stage": "new"}, {"stage": "whole"})


def test_no_file_is_no_metrics(tmp_path: Path) -> None:
    collected = collect(tmp_path / "metrics.jsonl")
    assert (collected.metrics, collected.bad_lines, collected.truncated) == ({}, 0, False)


def test_a_torn_last_line_is_ignored(file: MetricsFile, tmp_path: Path) -> None:
    file.append(MetricEntry("scalar", "run", "loss", 1))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "scalar", "na')
    collected = file.collected()
    assert (collected.metrics, collected.bad_lines) == ({"loss": 1}, 0)


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[" * 100_000,
        "7",
        '{"kind": "scalar", "scope": "run"}',
        '{"kind": "scalar", "scope": "run", "name": "x", "value": NaN}',
        '{"kind": "scalar", "scope": "run", "name": "x", "value": [1]}',
        '{"kind": "scalar", "scope": "else", "name": "x", "value": 1}',
        '{"kind": ["scalar"], "scope": "run", "name": "x", "value": 1}',
        '{"kind": "table", "scope": "run", "name": "x", "value": {"a": 1}}',
        '{"kind": "tag", "scope": "run", "name": "x", "value": 1}',
        '{"kind": "table", "scope": "run", "name": "loss", "value": {"a": [1]}}',
    ],
)
def test_a_bad_line_is_counted_and_the_rest_is_used(file: MetricsFile, tmp_path: Path, line: str) -> None:
    file.append(MetricEntry("scalar", "run", "loss", 1))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write(line + "\n")
    file.append(MetricEntry("scalar", "run", "loss", 2))
    collected = file.collected()
    assert (collected.metrics, collected.bad_lines) == ({"loss": [1, 2]}, 1)


def test_no_more_than_a_mebibyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    line = '{"kind": "scalar", "scope": "run", "name": "loss", "value": 1}\n'
    path.write_text(line * (MAXIMUM_BYTES // len(line) + 1000))
    collected = collect(path)
    assert collected.truncated
    assert len(collected.metrics["loss"]) == MAXIMUM_BYTES // len(line)


def test_several_processes_log_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = (
        "import sys; from pathlib import Path; from airflow_mlpipe.runtime.metrics import *\n"
        "file = MetricsFile(Path(sys.argv[1]))\n"
        "for _ in range(200): file.append(MetricEntry('list', 'run', sys.argv[2], ['x' * 1000]))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    collected = collect(path)
    assert {name: len(values) for name, values in collected.metrics.items()} == {"a": 200, "b": 200, "c": 200}
    assert collected.bad_lines == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_an_error_of_the_log_call() -> None:
    with pytest.raises(OSError, match="No space left"):
        MetricsFile(Path("/dev/full")).append(MetricEntry("scalar", "run", "loss", 1))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1, 1),
        (0.1, 0.1),
        (True, True),
        ("text", "text"),
        (10**30, 10**30),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([3]), 3),
        (np.array(3.5), 3.5),
    ],
)
def test_a_scalar_is_what_strict_json_can_hold(value: object, stored: object) -> None:
    result = scalar("x", value)
    assert (result, type(result)) == (stored, type(stored))
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    "value", [None, [1], {}, b"x", 1j, Decimal(1), np.array([1, 2]), np.datetime64("2026")]
)
def test_anything_else_is_a_type_error_that_names_the_metric(value: object) -> None:
    with pytest.raises(TypeError, match="metric 'loss' is"):
        scalar("loss", value)


def test_a_list_takes_any_iterable_but_a_text() -> None:
    assert scalars("x", np.array([1.5, float("nan")])) == [1.5, "NaN"]
    assert scalars("x", (value for value in (1, 2))) == [1, 2]
    for value in ("abc", 7, {"a": 1}):
        with pytest.raises(TypeError, match="log_list takes a list"):
            scalars("x", value)


def test_a_table_takes_values_or_one_value_for_each_column() -> None:
    table = {"a": [1, 2], "b": 3, "c": "text", "d": np.array([4]), "e": np.float64(5), 6: ()}
    assert columns("x", table) == {"a": [1, 2], "b": [3], "c": ["text"], "d": [4], "e": [5.0], "6": []}
    with pytest.raises(TypeError, match="log_table takes a mapping"):
        columns("x", [1])
