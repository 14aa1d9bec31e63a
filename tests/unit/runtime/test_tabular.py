from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from airflow_mlpipe.errors import DefinitionError, DocumentError, UserError
from airflow_mlpipe.runtime.tables.expressions import Column
from airflow_mlpipe.runtime.tabular import TabularDataset

DELIMITED: dict[str, Any] = {"format": "delimited"}


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    path = tmp_path / "numbers.csv"
    path.write_text("n,square,name\n" + "".join(f"{n},{n * n},row {n}\n" for n in range(200)))
    return str(path)


def values(dataset: TabularDataset, column: str = "n") -> list[int]:
    return list(dataset.to_pandas_dataframe()[column])


def test_files_are_read_one_below_the_other(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / name).write_text(f"x,y\n{number},{number}\n")
    table = TabularDataset([str(tmp_path / "a"), str(tmp_path / "b")], DELIMITED).to_pandas_dataframe()
    assert table.to_dict("list") == {"x": [1, 2], "y": [1, 2]}
    assert list(table.index) == [0, 1]


def test_separator_encoding_and_missing_header_are_options(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("grün;1\n".encode("latin-1"))
    options = {"separator": ";", "header": False, "encoding": "latin-1"}
    table = TabularDataset([str(path)], {**DELIMITED, "options": options}).to_pandas_dataframe()
    assert table.to_dict("list") == {"Column1": ["grün"], "Column2": [1]}


def test_the_path_can_be_a_column(numbers: str) -> None:
    dataset = TabularDataset([numbers], {**DELIMITED, "options": {"include_path": True}})
    assert set(dataset.to_pandas_dataframe()["Path"]) == {"/numbers.csv"}


def test_parquet_is_read(tmp_path: Path) -> None:
    pd.DataFrame({"n": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    assert values(TabularDataset([str(tmp_path / "a.parquet")], {"format": "parquet"})) == [1, 2]


def test_operations_are_applied_in_order_and_leave_the_original_alone(numbers: str) -> None:
    dataset = TabularDataset([numbers], DELIMITED)
    changed = dataset.keep_columns(["square", "n"]).drop_columns("square").take(3)
    assert changed.to_pandas_dataframe().to_dict("list") == {"n": [0, 1, 2]}
    assert list(dataset.to_pandas_dataframe().columns) == ["n", "square", "name"]


def test_recorded_operations_are_applied(numbers: str) -> None:
    operations = [{"keep_columns": ["n"]}, {"take": 2}]
    dataset = TabularDataset([numbers], {**DELIMITED, "operations": operations})
    assert dataset.to_pandas_dataframe().to_dict("list") == {"n": [0, 1]}


def test_a_split_shares_no_row_and_loses_none(numbers: str) -> None:
    train, test = TabularDataset([numbers], DELIMITED).random_split(percentage=0.8, seed=7)
    assert sorted(values(train) + values(test)) == list(range(200))
    assert 130 < len(values(train)) < 190


def test_a_split_is_the_same_each_time_and_another_with_another_seed(numbers: str) -> None:
    dataset = TabularDataset([numbers], DELIMITED)
    first, again, other = (dataset.random_split(0.5, seed)[0] for seed in (None, 0, 1))
    assert values(first) == values(again) != values(other)


def test_a_split_is_the_same_in_every_version(numbers: str) -> None:
    first = TabularDataset([numbers], DELIMITED).take(12).random_split(0.5, seed=42)[0]
    assert values(first) == [1, 2, 3, 7, 8, 9, 10]  # golden: it decides what a model is trained on


@pytest.mark.parametrize("percentage", [-0.1, 1.1, 80])
def test_a_percentage_lies_between_0_and_1(numbers: str, percentage: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TabularDataset([numbers], DELIMITED).random_split(percentage)


def test_an_unknown_column_is_an_error_that_lists_the_columns(numbers: str) -> None:
    with pytest.raises(UserError, match="no column 'cube'; it has: n, square, name"):
        TabularDataset([numbers], DELIMITED).keep_columns(["cube"]).to_pandas_dataframe()


def test_the_id_is_that_of_the_question(numbers: str) -> None:
    dataset = TabularDataset([numbers], DELIMITED, name="raw")
    assert dataset.id == TabularDataset([numbers], DELIMITED, name="other").id
    assert dataset.id != dataset.take(1).id
    assert dataset.take(1).name == "raw"


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"format": "excel"},
        {**DELIMITED, "operations": [{"shuffle": 1}]},
        {**DELIMITED, "operations": ["take"]},
    ],
)
def test_an_unknown_definition_is_refused(definition: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="known are"):
        TabularDataset([], definition)


def test_without_its_library_a_table_says_what_to_install(numbers: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from airflow_mlpipe.runtime.tabular import TabularDataset\n"
        "TabularDataset([sys.argv[2]], {'format': 'delimited'}).to_pandas_dataframe()"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-S", "-c", code, root, numbers], capture_output=True, text=True)
    assert "add 'pandas' to the pip_packages of the step's Environment" in done.stderr
    done = subprocess.run(
        [sys.executable, "-S", "-c", code.replace("to_pandas_dataframe", "to_pyarrow"), root, numbers],
        capture_output=True,
        text=True,
    )
    assert "add 'pyarrow' to the pip_packages of the step's Environment" in done.stderr


def test_a_filter_keeps_the_rows_that_answer_yes(numbers: str) -> None:
    table = TabularDataset([numbers], DELIMITED)
    small, odd_ones = table["n"] < 6, table["name"].isin(["row 1", "row 3", "row 199"])
    assert values(table.filter(small & ~odd_ones)) == [0, 2, 4, 5]
    assert values(table.filter(table["n"].between(2, 3) | (table["square"] >= 199 * 199))) == [2, 3, 199]
    assert values(table.filter(table["n"] == table["square"])) == [0, 1]
    assert values(table.filter(small).filter(table["n"] != 3).keep_columns("n").skip(1)) == [1, 2, 4, 5]


def test_a_row_without_a_value_answers_neither_yes_nor_no(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,flag\n1,true\n,false\n3,\n")
    table = TabularDataset([str(tmp_path / "a.csv")], DELIMITED)
    one = table["n"] == 1
    assert [table.filter(asked).to_pyarrow().num_rows for asked in (one, ~one)] == [1, 1]
    assert table.filter(table["n"].is_null()).to_pyarrow().to_pylist() == [{"n": None, "flag": False}]
    assert table.filter(table["n"].is_not_null() & ~table["flag"]).to_pyarrow().num_rows == 0
    assert table.filter(table["flag"]).to_pyarrow().num_rows == 1


def test_times_compare_with_texts_dates_and_times_of_any_zone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,n\n2026-01-01T10:00:00+02:00,0\n2026-01-01T09:00:00,1\n2026-01-02,2\n")
    table = TabularDataset([str(tmp_path / "a.csv")], DELIMITED)
    nine = datetime.datetime(2026, 1, 1, 9)
    in_berlin = nine.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert values(table.filter(table["t"] < nine)) == values(table.filter(table["t"] == in_berlin)) == [0]
    timed = table.with_timestamp_columns("t")
    assert values(timed.time_after(nine)) == [1, 2]
    assert values(timed.time_after(nine, include_boundary=False)) == [2]
    assert values(timed.time_between(datetime.date(2026, 1, 1), nine)) == [0, 1]
    assert str(timed.to_pyarrow().schema.field("t").type) == "timestamp[us]"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.filter(t["name"] > 2), "column 'name' is of type string and does not compare with 2"),
        (lambda t: t.filter(t["n"] == t["name"]), "does not compare with column 'name'"),
        (lambda t: t.filter(t["n"].isin(["a"])), "column 'n' is of type int64 and does not compare with 'a'"),
        (lambda t: t.filter(t["n"] > 2**70), "does not compare with 1180591620717411303424"),
        (lambda t: t.filter(t["n"]), "column 'n' is of type int64, not bool"),
        (lambda t: t.filter(t["cube"] > 2), "no column 'cube'; it has: n, square, name"),
        (lambda t: t.keep_columns("n").filter(t["name"] == "a"), "no column 'name'; it has: n"),
        (lambda t: t.with_timestamp_columns("name"), "column 'name' has a value that is no time"),
    ],
)
def test_a_question_that_the_columns_cannot_answer_is_an_error(
    numbers: str, ask: Callable[[TabularDataset], TabularDataset], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        ask(TabularDataset([numbers], DELIMITED)).to_pyarrow()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.filter(t["n"] > 1 and t["n"] < 3), "combine conditions with &, | and ~"),
        (lambda t: t.filter(t["n"] > 1 & t["n"]), "put comparisons in parentheses"),
        (lambda t: t.filter(t["n"] == None), "ask is_null"),  # noqa: E711 - what an author may write
        (lambda t: t.filter(t["n"] > [1]), "not to [1] of type list"),
        (lambda t: t.filter(t["n"] < float("nan")), "a finite number"),
        (lambda t: t.filter("n > 2"), "filter takes a condition"),
        (lambda t: t[0], "a column is named by a text, not by 0"),
        (lambda t: t["n"].isin("abc"), "isin takes a list"),
        (lambda t: t.take(-1), "take takes a number of rows from 0 on, not -1"),
        (lambda t: t.skip(1.5), "skip takes a number of rows from 0 on, not 1.5"),
        (lambda t: t.take_sample(2), "take_sample probability is 2"),
        (lambda t: t.random_split(0.5, seed="a"), "seed is 'a'"),
        (lambda t: t.keep_columns(["a", "a"]), "column 'a' is named twice"),
        (lambda t: t.drop_columns([1]), "columns are named by texts, not by 1"),
        (lambda t: t.time_before(datetime.date(2026, 1, 1)), "call with_timestamp_columns('...') first"),
        (lambda t: t.with_timestamp_columns("t").time_after("2026"), "takes a date or a time, not '2026'"),
    ],
)
def test_what_cannot_be_asked_of_any_table_is_refused_at_once(
    ask: Callable[[TabularDataset], object], message: str
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(message)):
        ask(TabularDataset([], DELIMITED))


def test_conditions_come_back_from_json_as_they_were(numbers: str) -> None:
    table = TabularDataset([numbers], DELIMITED)
    asked = (table["n"] > 1) & ~(table["name"] == "row 2") | table["n"].isin([0]) & table["n"].is_not_null()
    operations = json.loads(json.dumps([{"filter": asked.tree}, {"take": 3}]))
    assert values(TabularDataset([numbers], {**DELIMITED, "operations": operations})) == [0, 3, 4]


@pytest.mark.parametrize(
    "operation",
    [
        {"filter": ["~", ["column", "n"]]},
        {"filter": ["and", ["column", "n"]]},
        {"filter": "n > 2"},
        {"filter": ["in", ["column", "n"], 3]},
        {"take": "all"},
        {"random_split": {"percentage": 0.5, "seed": 0, "part": 2}},
        {"take_sample": {"probability": 0.5}},
    ],
)
def test_an_operation_that_cannot_be_is_refused_when_it_is_read(operation: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="tabular input 't'"):
        TabularDataset([], {**DELIMITED, "operations": [operation]}, name="t")


def test_parts_of_a_split_are_disjoint_and_complete_whatever_was_done_before(numbers: str) -> None:
    table = TabularDataset([numbers], DELIMITED)
    table = table.filter(table["n"] >= 100).skip(10).random_split(0.7, 3)[0]
    first, second = table.random_split(0.5, 4)
    assert sorted(values(first) + values(second)) == values(table)
    assert values(first)
    assert values(second)


def test_a_sample_is_the_first_part_of_a_split(numbers: str) -> None:
    table = TabularDataset([numbers], DELIMITED)
    assert values(table.take_sample(0.3, seed=5)) == values(table.random_split(0.3, seed=5)[0])
    assert values(table.take_sample(1)) == list(range(200))
    assert values(table.take_sample(0)) == []


def test_a_table_becomes_one_of_any_library(numbers: str) -> None:
    table = TabularDataset([numbers], DELIMITED).take(2).keep_columns(["n", "name"])
    expected = {"n": [0, 1], "name": ["row 0", "row 1"]}
    assert table.columns == ["n", "name"]
    assert table.to_pandas_dataframe().to_dict("list") == expected
    assert table.to_polars().to_dict(as_series=False) == expected
    assert table.to_pyarrow().to_pydict() == expected


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_table_that_was_written_is_read_as_it_was(numbers: str, tmp_path: Path, form: str) -> None:
    table = TabularDataset([numbers], DELIMITED).filter(Column("n") < 150).drop_columns("square")
    written = getattr(table, f"to_{form}_files")(tmp_path / "deep" / "out")
    assert written == str(tmp_path / "deep" / "out" / f"data.{form}")
    again = TabularDataset([written], {"format": {"csv": "delimited"}.get(form, form)})
    assert again.to_pyarrow().equals(table.to_pyarrow().combine_chunks())


def test_a_table_is_written_by_partitions_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("country,n,year\nde,1,2025\nfr,2,2025\nde,3,2026\nde,4,2025\n")
    table = TabularDataset([str(tmp_path / "a.csv")], DELIMITED)
    parts = table.partition_by(["country", "year"], tmp_path / "out")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["de/2025/part-00000.parquet", "de/2026/part-00000.parquet", "fr/2025/part-00000.parquet"]
    assert parts.partition_keys == ["country", "year"]
    assert parts.get_partition_key_values(["country"]) == [{"country": "de"}, {"country": "fr"}]
    assert len(parts.get_partition_key_values()) == 3
    assert parts.to_pyarrow().to_pydict() == {
        "country": ["de", "de", "de", "fr"],
        "year": ["2025", "2025", "2026", "2025"],
        "n": [1, 4, 3, 2],
    }
    assert values(parts.filter(parts["year"] == "2026")) == [3]


def test_what_cannot_be_partitioned_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,n,none\na/b,1,\n")
    table = TabularDataset([str(tmp_path / "a.csv")], DELIMITED)
    for key, message in (
        ("path", "'a/b', which cannot name a folder"),
        ("none", "None"),
        ("x", "no column 'x'"),
    ):
        with pytest.raises(UserError, match=message):
            table.partition_by(key, tmp_path / "out")
    with pytest.raises(DefinitionError, match="at least one key"):
        table.partition_by([], tmp_path / "out")
    with pytest.raises(DefinitionError, match="'n' is no partition key; there are: none"):
        table.get_partition_key_values(["n"])
