from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from airflow_mlpipe.errors import DocumentError, UserError
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
    assert set(dataset.to_pandas_dataframe()["Path"]) == {numbers}


def test_parquet_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
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


def test_without_pandas_the_error_says_how_to_install_it(numbers: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from airflow_mlpipe.runtime.tabular import TabularDataset\n"
        "TabularDataset([sys.argv[2]], {'format': 'delimited'}).to_pandas_dataframe()"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-S", "-c", code, root, numbers], capture_output=True, text=True)
    assert "add 'pandas' to the pip_packages of the step's Environment" in done.stderr
