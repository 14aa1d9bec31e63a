"""What steps could do before there were containers, in containers: made once, then reused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook
from pyarrow import parquet

from tests.airflow.conftest import dags, task_log
from tests.airflow.harness import DagFiles

__all__ = ["dags", "task_log"]

pytestmark = pytest.mark.airflow

# The image has no pyarrow: what the script was given is read by the test.
QUERY = """
import shutil, sys
from airflow_mlpipe import Run
[file] = Run.get_context().input_datasets["table"]._source.files  # no public name leads to it
shutil.copy(file.path, sys.argv[1])
"""
DEFINITIONS = """
TARGET = DockerTarget(image={image!r})
HERE = {{"source_directory": "src", "compute_target": TARGET}}
SENSED = Dataset.File.from_files("raw").as_named_input("raw").as_mount()

@step(compute_target=TARGET)
def square(n: int) -> int:
    return n * n

@step(compute_target=TARGET)
def total(values: list[int]) -> int:
    return sum(values)
"""
STEPS = """
total(square.expand(n=[2, 3]))
CommandStep(task_id="copy", command=["./copy.sh"], arguments=[SENSED, PipelineData("copied")], **HERE)
made = OutputFileDatasetConfig("made").register_on_complete("rows")
make = PythonScriptStep(task_id="make", script_name="make.py", arguments=[made], **HERE)
rows = Dataset.get_by_name("rows").as_mount()
read = PythonScriptStep(task_id="read", script_name="read.py", arguments=[rows, PipelineData("said")], **HERE)
make >> read
flowers = Dataset.Tabular.from_sql_query("SELECT * FROM flowers", connection="warehouse")
table = flowers.as_named_input("table")
found = PipelineData("found")
PythonScriptStep(task_id="query", script_name="query.py", inputs=[table], arguments=[found], **HERE)
"""
SENSOR = """
OutputReuseSensor(
    task_id="wait", entry=Command(argv=["./copy.sh"]), arguments=[SENSED, PipelineData("copied")], **HERE
)
"""
IMPORTS = """
from airflow_mlpipe import Command, CommandStep, DockerTarget, OutputFileDatasetConfig, OutputReuseSensor
"""


def test_mapped_functions_commands_registered_data_queries_and_sensors_are_the_same_in_containers(
    dags: DagFiles, docker_host: str, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    fill_warehouse(tmp_path / "warehouse.sqlite", monkeypatch)
    dags.file("raw/a.txt", "first")
    dags.script("copy.sh", '#!/bin/sh\ncp "$1/a.txt" "$2"\n').chmod(0o755)
    dags.script("make.py", "import sys; open(sys.argv[1] + '/part.csv', 'w').write('one')")
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1] + '/part.csv').read())")
    dags.script("query.py", QUERY)
    definitions = DEFINITIONS.format(image=image)
    dags.functions(definitions, STEPS, imports=IMPORTS)
    dags.functions(definitions, SENSOR, imports=IMPORTS, name="elsewhere")

    first, second = dags.run(), dags.run()
    assert first.state == "success", first.text
    assert set(first.actions.values()) == {"ran"}
    assert first.returned("total") == 13
    assert (first.read("copy", "copied"), first.read("read", "said")) == ("first", "one")
    assert parquet.read_table(first.path("query", "found")).to_pylist() == [{"name": "iris", "petals": 3.0}]
    assert second.state == "success", second.text
    assert second.actions == dict.fromkeys(first.actions, "reused")

    sensed = dags.run("elsewhere")
    assert sensed.actions == {"wait": "reused"}, sensed.text
    assert sensed.read("wait", "copied") == "first"


def fill_warehouse(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every connection lead to a new *database* with a table of flowers."""

    class SqliteHook(DbApiHook):
        conn_name_attr = "conn_id"

        def get_conn(self) -> sqlite3.Connection:
            return sqlite3.connect(database)

    monkeypatch.setattr(BaseHook, "get_hook", lambda conn_id: SqliteHook(conn_id=conn_id))
    with sqlite3.connect(database) as connection:
        connection.executescript(
            "CREATE TABLE flowers (name TEXT, petals REAL); INSERT INTO flowers VALUES ('iris', 3)"
        )
