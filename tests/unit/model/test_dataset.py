from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from typing import Any

import pytest

from airflow_mlpipe import Dataset, Datastore, OutputFileDatasetConfig
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.dataset import FileDataset


@pytest.mark.parametrize("paths", ["raw/", ["raw/"], ("raw/",)])
def test_one_path_or_a_list_of_them_make_a_dataset(paths: Any) -> None:
    assert Dataset.File.from_files(paths) == FileDataset(paths=("raw/",))


@pytest.mark.parametrize("paths", ["", [], ["a", ""], [1], b"raw", None, "a\0b"])
def test_anything_else_is_no_dataset(paths: Any) -> None:
    with pytest.raises(DefinitionError, match=r"names no data|a dataset needs at least one path"):
        Dataset.File.from_files(paths)


def test_an_unknown_identity_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'content', 'etag' or 'definition'"):
        Dataset.File.from_files("raw/", identity="name")  # type: ignore[arg-type]


def test_a_file_dataset_reaches_a_step_by_the_way_that_is_asked_for() -> None:
    raw = Dataset.File.from_files("raw/")
    assert [made().mode for made in (raw.as_mount, raw.as_download, raw.as_direct)] == [
        "mount",
        "download",
        "direct",
    ]
    assert raw.as_named_input("raw").as_mount("/tmp/x").path_on_compute == "/tmp/x"


def test_a_table_is_narrowed_in_the_order_that_was_written() -> None:
    table = Dataset.Tabular.from_delimited_files("a.csv").keep_columns("a").drop_columns(["b"])
    assert table.table.operations == ({"keep_columns": ["a"]}, {"drop_columns": ["b"]})
    assert table.as_named_input("rows").tabular == table.table


def test_the_parts_of_a_split_differ_in_nothing_else() -> None:
    first, second = Dataset.Tabular.from_parquet_files("a.parquet").random_split(0.8, seed=3)
    split = {"percentage": 0.8, "seed": 3}
    assert first.table.operations == ({"random_split": {**split, "part": 0}},)
    assert second.table.operations == ({"random_split": {**split, "part": 1}},)


@pytest.mark.parametrize("percentage", [-0.1, 1.1, 80])
def test_a_split_beyond_the_whole_is_refused(percentage: float) -> None:
    with pytest.raises(DefinitionError, match="it must lie between 0 and 1"):
        Dataset.Tabular.from_parquet_files("a.parquet").random_split(percentage)


def test_every_operation_can_be_written_in_a_dag_file() -> None:
    table = Dataset.Tabular.from_json_lines_files("rows.jsonl")
    changed = (
        table.filter((table["n"] > 1) & ~table["kind"].isin(["a"]))
        .with_timestamp_columns("day")
        .time_after(datetime.date(2026, 1, 31))
        .take_sample(0.5, seed=1)
        .skip(2)
        .take(3)
    )
    assert changed.table.operations == (
        {
            "filter": [
                "and",
                [">", ["column", "n"], ["value", 1]],
                ["not", ["in", ["column", "kind"], [["value", "a"]]]],
            ]
        },
        {"timestamp": "day"},
        {"filter": [">=", ["column", "day"], ["time", "2026-01-31T00:00:00"]]},
        {"take_sample": {"probability": 0.5, "seed": 1}},
        {"skip": 2},
        {"take": 3},
    )
    assert table.table.operations == ()


@pytest.mark.parametrize(
    "made",
    [
        lambda: Dataset.Tabular.from_delimited_files("a.csv"),
        lambda: Dataset.Tabular.from_sql_query("SELECT 1", connection="warehouse"),
        lambda: Dataset.get_by_name("rows"),
        lambda: OutputFileDatasetConfig("rows").parse_parquet_files(),
    ],
)
def test_whatever_is_a_table_takes_operations(made: Callable[[], Any]) -> None:
    table = made()
    assert list(table.keep_columns("a").take(1).operations_so_far()) == [{"keep_columns": ["a"]}, {"take": 1}]
    assert list(table.operations_so_far()) == []
    with pytest.raises(DefinitionError, match="take takes a number of rows"):
        table.take(-1)


def test_only_options_that_were_said_are_kept() -> None:
    tables = Dataset.Tabular
    assert tables.from_delimited_files("a.csv").table.options == {}
    told = tables.from_delimited_files(
        "a.csv",
        separator=";",
        header="first_file",
        set_column_types={"n": "int"},
        null_values=["-"],
        partition_format="{kind}/*.csv",
    )
    assert told.table.options == {
        "separator": ";",
        "header": "first_file",
        "column_types": {"n": "int"},
        "null_values": ["-"],
        "partition_format": "{kind}/*.csv",
    }
    assert told.partition_format == "{kind}/*.csv"


class PromoteHeadersBehavior(enum.Enum):
    """As in SDK v1."""

    NO_HEADERS = 0
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    COMBINE_ALL_FILES_HEADERS = 2
    ALL_FILES_HAVE_SAME_HEADERS = 3


def test_headers_can_be_told_in_the_words_of_v1() -> None:
    told = [Dataset.Tabular.from_delimited_files("a.csv", header=header) for header in PromoteHeadersBehavior]
    assert [table.table.options.get("header", True) for table in told] == [False, "first_file", True, True]


@pytest.mark.parametrize(
    "options",
    [
        {"separator": "||"},
        {"header": 1},
        {"encoding": "utf-9"},
        {"set_column_types": {"n": "number"}},
        {"null_values": "NA"},
        {"partition_format": "no column"},
    ],
)
def test_an_option_of_delimited_files_is_checked_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        Dataset.Tabular.from_delimited_files("a.csv", **options)


def test_a_query_is_told_with_its_connection_or_as_the_pair_of_v1() -> None:
    query = Dataset.Tabular.from_sql_query
    expected = query("SELECT 1", connection="warehouse")
    assert expected.as_named_input("rows").tabular == expected.table
    assert query(("warehouse", "SELECT 1")) == query((Datastore("warehouse"), "SELECT 1")) == expected
    assert query("SELECT 1", "warehouse", query_timeout=datetime.timedelta(minutes=1)).query_timeout == 60.0
    assert query("SELECT 1", "warehouse", parameters=[1, None]).parameters == (1, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query": "SELECT 1"}, "the id of an Airflow connection"),
        ({"query": "", "connection": "warehouse"}, "it must not be empty"),
        ({"query": "SELECT 1", "connection": "warehouse", "query_timeout": 0}, "seconds above 0"),
        ({"query": "SELECT 1", "connection": "warehouse", "identity": "etag"}, "'content' or 'definition'"),
        ({"query": "SELECT 1", "connection": "warehouse", "parameters": [object()]}, "parameters"),
    ],
)
def test_a_query_that_cannot_be_asked_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Dataset.Tabular.from_sql_query(**wrong)
