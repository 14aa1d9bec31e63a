from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe import Dataset
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.dataset import FileDataset


@pytest.mark.parametrize("paths", ["raw/", ["raw/"], ("raw/",)])
def test_one_path_or_a_list_of_them_make_a_dataset(paths: Any) -> None:
    assert Dataset.File.from_files(paths) == FileDataset(paths=("raw/",))


@pytest.mark.parametrize("paths", ["", [], ["a", ""], [1], b"raw", None, "a\0b"])
def test_anything_else_is_no_dataset(paths: Any) -> None:
    with pytest.raises(DefinitionError, match=r"a dataset('s path is a text| needs at least one path)"):
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
