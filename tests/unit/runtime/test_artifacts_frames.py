from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as frames
from pandas.testing import assert_frame_equal, assert_series_equal

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact

FILE = "data.parquet"


def written(value: Any, folder: Path) -> bytes:
    write_artifact(value, folder)
    return (folder / FILE).read_bytes()


def through(value: Any, folder: Path, wanted: Any = Any) -> Any:
    write_artifact(value, folder)
    return read_artifact(folder, wanted)


MANY_KINDS = {
    "int": [1, 2, None],
    "text": ["grün", None, ""],
    "flag": [True, None, False],
    "day": [datetime.date(2026, 1, 2)] * 3,
    "moment": [datetime.datetime(2026, 1, 2, 3, 4, 5)] * 3,
    "bytes": [b"\0", b"", None],
    "list": [[1], [], None],
    "money": [Decimal("1.10"), Decimal("2.00"), None],
}


@settings(max_examples=40, deadline=None)
@given(
    frames.data_frames(
        [
            frames.column("number", dtype=float),
            frames.column("count", dtype=int),
            frames.column("flag", dtype=bool),
            frames.column("text", elements=st.text(st.characters(codec="utf8"), max_size=5), dtype=object),
        ],
        index=frames.range_indexes(max_size=6) | frames.indexes(dtype=int, max_size=6),
    )
)
def test_any_pandas_frame_comes_back(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> None:
    frame = frame.astype({"text": "string"})
    assert_frame_equal(through(frame, tmp_path_factory.mktemp("a") / "frame"), frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (1, "y")], names=["k", None])),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2, tz="Europe/Berlin")),
        pd.DataFrame({"a": [1, 2, 3]}).iloc[1:],
        pd.DataFrame({1: [1], 2: [2]}),
        pd.DataFrame({("a", "b"): [1]}),
        pd.DataFrame(index=[3, 4]),
        pd.DataFrame(),
        pd.DataFrame({"a": pd.Categorical(["u", "v"], categories=["v", "u", "w"], ordered=True)}),
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": pd.array([None, True], dtype="boolean")}),
    ],
    ids=[
        "text",
        "levels",
        "times",
        "slice",
        "numbers",
        "pairs",
        "no columns",
        "nothing",
        "ordered",
        "nullable",
    ],
)
def test_index_column_names_and_dtypes_of_pandas_are_kept(tmp_path: Path, frame: pd.DataFrame) -> None:
    assert_frame_equal(through(frame, tmp_path / "frame"), frame, check_freq=False)


@pytest.mark.parametrize("name", ["price", None, 0])
def test_a_series_is_a_series_again_with_its_name_and_index(tmp_path: Path, name: object) -> None:
    series = pd.Series([1.5, 2.5], index=["x", "y"], name=name)
    assert_series_equal(through(series, tmp_path / "series"), series)


def test_a_series_can_be_read_as_a_frame_and_a_frame_of_one_column_as_a_series(tmp_path: Path) -> None:
    series = pd.Series([1, 2], name="n")
    assert_frame_equal(through(series, tmp_path / "a", pd.DataFrame), series.to_frame())
    assert_series_equal(through(series.to_frame(), tmp_path / "b", pd.Series), series)


def test_a_frame_of_two_columns_is_no_series(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"a table of 2 columns is no Series; annotate .* as pandas.DataFrame"
    ):
        through(pd.DataFrame({"a": [1], "b": [2]}), tmp_path / "frame", pd.Series)


def test_polars_frames_come_back_with_their_types(tmp_path: Path) -> None:
    frame = pl.DataFrame(MANY_KINDS).with_columns(
        span=pl.lit(datetime.timedelta(hours=1)),
        code=pl.Series(["u", "v", "u"], dtype=pl.Categorical),
        rank=pl.Series(["low", "high", None], dtype=pl.Enum(["low", "high"])),
        pair=pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
        struct=pl.Series([{"k": 1}] * 3),
    )
    back = through(frame, tmp_path / "frame")
    assert back.schema == frame.schema
    assert back.equals(frame)


def test_a_lazy_frame_is_collected_and_lazy_again(tmp_path: Path) -> None:
    lazy = pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1)
    back = through(lazy, tmp_path / "frame")
    assert isinstance(back, pl.LazyFrame)
    assert back.collect().to_dict(as_series=False) == {"a": [2, 3]}


def test_an_arrow_table_comes_back_with_its_schema(tmp_path: Path) -> None:
    table = pa.table(MANY_KINDS).replace_schema_metadata({"made by": "hand"})
    assert through(table, tmp_path / "table").equals(table, check_metadata=True)


@pytest.mark.parametrize("wanted", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table])
def test_each_library_can_read_what_another_wrote(tmp_path: Path, make: Any, wanted: Any) -> None:
    columns = {"n": [1, 2], "text": ["x", "y"]}
    back = through(make(columns), tmp_path / "frame", wanted)
    assert isinstance(back, wanted)
    table = back.collect() if wanted is pl.LazyFrame else back
    assert {
        name: list(table[name].to_pylist() if wanted is pa.Table else table[name]) for name in columns
    } == (columns)


def test_an_index_is_a_column_to_the_other_libraries(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key"))
    assert through(frame, tmp_path / "frame", pl.DataFrame).to_dict(as_series=False) == {
        "a": [1],
        "key": ["x"],
    }


def test_a_folder_called_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    assert list(through(pd.DataFrame({"a": [1]}), tmp_path / "year=2026").columns) == ["a"]


def test_the_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    whole = pa.table({"a": list(range(6)), "b": ["x", None, "y", "x", "y", ""]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 3), whole.slice(4)])
    assert written(whole, tmp_path / "a") == written(pieces, tmp_path / "b")
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=list("abc"))
    other = pd.DataFrame({name: list(frame[name]) for name in "abc"})
    assert written(frame, tmp_path / "c") == written(other, tmp_path / "d")
    polars = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    joined = pl.concat([polars[:1], polars[1:]], rechunk=False)
    assert written(polars, tmp_path / "e") == written(joined, tmp_path / "f")


def test_another_value_or_index_is_another_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    files = {
        written(frame, tmp_path / "a"),
        written(frame.assign(a=[1, 3]), tmp_path / "b"),
        written(frame.set_axis([5, 6]), tmp_path / "c"),
        written(frame["a"], tmp_path / "d"),
        written(frame["a"].rename(None), tmp_path / "e"),
    }
    assert len(files) >= 4  # a Series with a name is written as its frame


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (pd.DataFrame({"ok": [1], "model": [object()]}), "for column model with type object"),
        (pd.DataFrame({"ok": [1, 2], "mixed": [1, "x"]}), "for column mixed with type object"),
        (pd.DataFrame({"wave": [1j]}), "for column wave with type complex128"),
        (pd.DataFrame({"seen": [{1, 2}]}), "the column 'seen' cannot be written as Parquet: it has sets"),
        (pd.DataFrame({"thin": pd.arrays.SparseArray([0, 1])}), "column thin"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names found: \\['a', 'a'\\]"),
        (pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), "the column 'o' .* are Python objects"),
        (pl.DataFrame({"ok": [1], "big": pl.Series([1], dtype=pl.Int128)}), "the column 'big' cannot"),
        (
            pa.table({"ok": [1], "span": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
            "the column 'span' cannot be written as Parquet",
        ),
    ],
)
def test_what_parquet_cannot_hold_is_named(tmp_path: Path, value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=f"{sentence}.*write a file to an Output\\[Path\\]"):
        write_artifact(value, tmp_path / "frame")


@pytest.mark.filterwarnings("ignore:The DataFrame has column names of mixed type")
def test_column_names_that_would_come_back_as_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"\[1, 'a'\] would be read back as \['1', 'a'\]; give all columns names"
    ):
        write_artifact(pd.DataFrame({1: [1], "a": [2]}), tmp_path / "frame")


@pytest.mark.parametrize("wanted", [Any, pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table])
@pytest.mark.parametrize("kept", [0, 3, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, wanted: Any, kept: int) -> None:
    content = written(pd.DataFrame({"a": range(100)}), tmp_path / "frame")
    (tmp_path / "frame" / FILE).write_bytes(content[:kept])
    with pytest.raises(
        DocumentError, match=r"data.parquet cannot be read as Parquet: .*; run its producer again"
    ):
        read_artifact(tmp_path / "frame", wanted)


def test_metadata_that_is_not_that_of_pandas_is_damage(tmp_path: Path) -> None:
    written(pd.DataFrame({"a": [1]}), tmp_path / "frame")
    table = pa.table({"a": [1]}).replace_schema_metadata({"pandas": "{not json"})
    pyarrow.parquet.write_table(table, tmp_path / "frame" / FILE)
    with pytest.raises(DocumentError, match="cannot be read as Parquet"):
        read_artifact(tmp_path / "frame")
