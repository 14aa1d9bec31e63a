"""Queries on a real SQLite database, through a hook of Airflow's."""

from __future__ import annotations

import datetime
import decimal
import os
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook

from airflow_mlpipe import Dataset
from airflow_mlpipe.errors import InfrastructureError, UserError
from airflow_mlpipe.model.query import QueryDataset
from airflow_mlpipe.pipeline import queries
from airflow_mlpipe.pipeline.queries import QueryRun
from airflow_mlpipe.pipeline.query_rows import QueryRows
from airflow_mlpipe.runtime.tabular import TabularDataset

Write = Callable[[str], None]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """The database of connection ``warehouse``, which runs statements."""
    path = tmp_path / "warehouse.sqlite"

    class SqliteHook(DbApiHook):
        conn_name_attr = "conn_id"

        def get_conn(self) -> sqlite3.Connection:
            # The timer of query_timeout interrupts from a thread of its own.
            return sqlite3.connect(path, check_same_thread=False)

    def hook_of(conn_id: str) -> Any:
        if conn_id == "bucket":
            return BaseHook()
        return SqliteHook(conn_id="warehouse")

    monkeypatch.setattr(BaseHook, "get_hook", hook_of)

    def write(statements: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.executescript(statements)

    write(
        "CREATE TABLE flowers (name TEXT, petals REAL); INSERT INTO flowers VALUES ('iris', 3), ('rose', 5.5)"
    )
    return write


def asked(query: str = "SELECT * FROM flowers ORDER BY name", **keywords: Any) -> QueryDataset:
    return Dataset.Tabular.from_sql_query(query, connection="warehouse", **keywords)


def run(dataset: QueryDataset, folder: Path) -> QueryRun:
    return QueryRun(dataset, "input flowers", folder / "waiting")


def digest(dataset: QueryDataset, folder: Path) -> str:
    return run(dataset, folder).source().digest


def put(dataset: QueryDataset, folder: Path) -> list[dict[str, Any]]:
    """The rows as a step finds them."""
    target = folder / uuid.uuid4().hex
    ready = run(dataset, folder)
    ready.source()
    ready.put(target)
    files = sorted(str(file) for file in target.iterdir())
    rows: list[dict[str, Any]] = TabularDataset(files, {"format": "parquet"}).to_pyarrow().to_pylist()
    return rows


@pytest.mark.parametrize("identity", ["content", "definition"])
def test_a_step_finds_the_rows_as_parquet(database: Write, tmp_path: Path, identity: Any) -> None:
    assert put(asked(identity=identity), tmp_path) == [
        {"name": "iris", "petals": 3.0},
        {"name": "rose", "petals": 5.5},
    ]
    assert not list((tmp_path / "waiting").glob("*/*"))


def test_parameters_are_handed_to_the_driver(database: Write, tmp_path: Path) -> None:
    listed = asked("SELECT name FROM flowers WHERE petals > ?", parameters=[4])
    named = asked("SELECT name FROM flowers WHERE petals > :least", parameters={"least": 4})
    assert put(listed, tmp_path) == put(named, tmp_path) == [{"name": "rose"}]


def test_the_same_rows_are_the_same_data_and_other_rows_are_not(database: Write, tmp_path: Path) -> None:
    before = digest(asked(), tmp_path)
    database("CREATE TABLE more (x); UPDATE flowers SET petals = petals")
    assert digest(asked(), tmp_path) == before
    assert digest(asked("SELECT name, petals FROM flowers ORDER BY 1"), tmp_path) == before
    others = {
        digest(asked("SELECT * FROM flowers ORDER BY name DESC"), tmp_path),
        digest(asked("SELECT name, petals AS p FROM flowers ORDER BY name"), tmp_path),
        digest(asked("SELECT * FROM flowers WHERE 1 = 2"), tmp_path),
    }
    database("UPDATE flowers SET petals = 6 WHERE name = 'rose'")
    assert len({before, *others, digest(asked(), tmp_path)}) == 5


def test_by_its_definition_a_query_is_not_run_to_look(database: Write, tmp_path: Path) -> None:
    first = digest(asked("SELECT * FROM nowhere", identity="definition"), tmp_path)
    assert first != digest(asked("SELECT * FROM elsewhere", identity="definition"), tmp_path)
    assert first == digest(asked("SELECT * FROM nowhere", identity="definition"), tmp_path)
    assert first != digest(asked("SELECT * FROM nowhere", identity="definition", parameters=[1]), tmp_path)


def test_the_step_reads_the_rows_that_were_hashed(database: Write, tmp_path: Path) -> None:
    ready = run(asked(), tmp_path)
    ready.source()
    database("DELETE FROM flowers")
    ready.put(tmp_path / "target")
    files = [str(file) for file in (tmp_path / "target").iterdir()]
    assert TabularDataset(files, {"format": "parquet"}).to_pyarrow().num_rows == 2


def test_rows_that_were_lost_meanwhile_are_asked_for_again_and_compared(
    database: Write, tmp_path: Path
) -> None:
    ready = run(asked(), tmp_path)
    ready.source()
    ready.put(tmp_path / "first")
    ready.put(tmp_path / "again")
    database("DELETE FROM flowers")
    with pytest.raises(InfrastructureError, match="the rows of the query changed since they were hashed"):
        ready.put(tmp_path / "third")


def test_what_a_killed_process_left_waiting_goes_after_a_day(database: Write, tmp_path: Path) -> None:
    old, new = (tmp_path / "waiting" / f"mlpipe-query-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    a_day_ago = new.stat().st_mtime - 25 * 3600
    os.utime(old, (a_day_ago, a_day_ago))
    digest(asked(), tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_query_without_rows_has_its_columns(database: Write, tmp_path: Path) -> None:
    ready = run(asked("SELECT * FROM flowers WHERE 1 = 2"), tmp_path)
    ready.source()
    ready.put(tmp_path / "target")
    files = [str(file) for file in (tmp_path / "target").iterdir()]
    assert TabularDataset(files, {"format": "parquet"}).columns == ["name", "petals"]


def test_rows_are_taken_some_at_a_time(
    database: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) SELECT"
    mixed = asked(f"{numbers} i, CASE WHEN i > 20 THEN i + 0.5 END AS late FROM n")
    at_once = digest(mixed, tmp_path)
    monkeypatch.setattr(queries, "ROWS_AT_ONCE", 10)
    ready = run(mixed, tmp_path)
    assert ready.source().digest == at_once
    ready.put(tmp_path / "target")
    files = sorted(str(file) for file in (tmp_path / "target").iterdir())
    assert len(files) == 3
    table = TabularDataset(files, {"format": "parquet"}).to_pyarrow()
    assert table.column("i").to_pylist() == list(range(1, 26))
    assert table.column("late").to_pylist()[18:22] == [None, None, 21.5, 22.5]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "SELECT * FROM nowhere",
            "the query on connection 'warehouse' failed: OperationalError: no such table",
        ),
        ("SELECT 1 AS a, 2 AS a", "the query gives two columns the name 'a'; give one another with AS"),
        ("CREATE TABLE t (x)", "the query returns no rows; that of a dataset is a SELECT"),
        (
            "SELECT 1 AS a UNION ALL SELECT 'x'",
            "column 'a' of the query has values of which no column can be made",
        ),
    ],
)
def test_a_query_that_gives_no_table_is_the_authors_mistake(
    database: Write, tmp_path: Path, query: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"input flowers: .*{message}"):
        digest(asked(query), tmp_path)


def test_a_query_ends_after_its_timeout(database: Write, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(UserError, match=r"was ended after 0\.2 s, its query_timeout"):
        digest(asked(endless, query_timeout=datetime.timedelta(seconds=0.2)), tmp_path)


def test_a_connection_that_is_no_database_is_an_error(database: Write, tmp_path: Path) -> None:
    dataset = Dataset.Tabular.from_sql_query("SELECT 1", connection="bucket")
    with pytest.raises(UserError, match="the Airflow connection 'bucket' gives no database"):
        digest(dataset, tmp_path)


def test_the_digest_of_rows_is_the_same_in_every_version(tmp_path: Path) -> None:
    rows = QueryRows(tmp_path, "input x")
    when = datetime.datetime(2026, 1, 31)
    first = (1, 0.1, "ü", b"\0", when, None, decimal.Decimal("1.50"), {"b": 1, "a": [2]}, uuid.UUID(int=1))
    second = (2, 2.5, "", memoryview(b"x"), when, None, None, [1], None)
    rows.add(list("abcdefghi"), [first, second])
    # Golden: it decides whether rows are the same as before.
    assert rows.digest() == "e4080eb1470557ba12a881430f0148c5928b6cc7d8d25b3b968251548a9167a5"
    assert rows.count == 2


def test_other_types_of_values_are_other_rows(tmp_path: Path) -> None:
    digests = set()
    for number, value in enumerate(
        (1, 1.0, True, "1", b"1", decimal.Decimal(1), None, datetime.date(1, 1, 1))
    ):
        (tmp_path / str(number)).mkdir()
        rows = QueryRows(tmp_path / str(number), "input x")
        rows.add(["a"], [(value,)])
        digests.add(rows.digest())
    assert len(digests) == 8
