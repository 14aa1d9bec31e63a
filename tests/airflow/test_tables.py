"""Tables from the DAG file to the script: conditions, partitions, and the rows of a database."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

TABLE = """
    import json, sys
    from airflow_mlpipe import Run
    table = Run.get_context().input_datasets["table"]
    with open(sys.argv[-1], "w") as file:
        json.dump(table.to_pyarrow().to_pydict(), file, default=str)
"""


def test_what_a_dag_file_asks_of_a_table_is_what_the_script_finds(dags: DagFiles) -> None:
    for country, year, text in (
        ("de", "2025", "n\n1\n"),
        ("de", "2026", "n\n2\n3\n"),
        ("fr", "2026", "n\n4\n"),
    ):
        dags.file(f"data/{country}/{year}/rows.csv", text)
    dags.file("data/notes.txt", "no table")
    dags.script("table.py", TABLE)
    dags.dag("""
        by_path = "{country}/{year:yyyy}/rows.csv"
        table = Dataset.Tabular.from_delimited_files("data", partition_format=by_path)
        table = table.filter((table["country"] == "de") & (table["n"] > 1)).keep_columns(["n", "year"])
        step("table", PipelineData("said"), inputs=[table.as_named_input("table").as_download()])
    """)
    run = dags.run()
    assert json.loads(run.read("table", "said")) == {"n": [2, 3], "year": ["2026-01-01 00:00:00"] * 2}
    dags.file("data/notes.txt", "still no table")
    assert dags.run().actions == {"table": "reused"}
    dags.file("data/fr/2026/rows.csv", "n\n5\n")
    assert dags.run().actions == {"table": "ran"}


def test_an_output_that_was_partitioned_is_a_table_of_the_next_step(dags: DagFiles) -> None:
    dags.file("rows.csv", "kind,n\na,1\nb,2\na,3\n")
    dags.script(
        "part.py",
        """
        import sys
        from airflow_mlpipe import Run
        Run.get_context().input_datasets["rows"].partition_by("kind", sys.argv[1])
    """,
    )
    dags.script("table.py", TABLE)
    dags.dag("""
        parts = OutputFileDatasetConfig("parts")
        rows = Dataset.Tabular.from_delimited_files("rows.csv").as_named_input("rows")
        step("part", parts, inputs=[rows])
        table = parts.parse_parquet_files(partition_format="{kind}/*.parquet").as_named_input("table")
        step("table", PipelineData("said"), inputs=[table.filter(table["kind"] == "a")])
    """)
    assert json.loads(dags.run().read("table", "said")) == {"kind": ["a", "a"], "n": [1, 3]}


def test_a_query_is_a_table_that_is_the_same_as_long_as_its_rows_are(
    dags: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "warehouse.sqlite"

    class SqliteHook(DbApiHook):
        conn_name_attr = "conn_id"

        def get_conn(self) -> sqlite3.Connection:
            return sqlite3.connect(database)

    monkeypatch.setattr(BaseHook, "get_hook", lambda conn_id: SqliteHook(conn_id=conn_id))

    def write(statements: str) -> None:
        with sqlite3.connect(database) as connection:
            connection.executescript(statements)

    write(
        "CREATE TABLE flowers (name TEXT, petals REAL); INSERT INTO flowers VALUES ('iris', 3), ('rose', 5.5)"
    )
    dags.script("table.py", TABLE)
    dags.dag("""
        query = "SELECT name, petals FROM flowers WHERE petals > ? ORDER BY name"
        table = Dataset.Tabular.from_sql_query(query, connection="warehouse", parameters=[1])
        table = table.filter(table["petals"] < 5).as_named_input("table")
        step("table", PipelineData("said"), inputs=[table])
    """)
    assert json.loads(dags.run().read("table", "said")) == {"name": ["iris"], "petals": [3.0]}
    write("CREATE TABLE other (x); UPDATE flowers SET petals = petals")
    assert dags.run().actions == {"table": "reused"}
    write("INSERT INTO flowers VALUES ('lily', 4)")
    again = dags.run()
    assert again.actions == {"table": "ran"}
    assert json.loads(again.read("table", "said"))["name"] == ["iris", "lily"]
