"""A table that is read here is the table that pandas reads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.runtime.tabular import TabularDataset

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8).map(
    lambda word: f"w{word}"
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "ints": st.integers(-(2**63), 2**63 - 1),
    "floats": st.floats(allow_nan=False),
    "bools": st.booleans(),
    "words": WORDS,
    "sparse_ints": st.none() | st.integers(-(2**53), 2**53),
    "sparse_words": st.none() | WORDS,
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True))
    rows = draw(st.integers(1, 12))
    values = {kind: draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)) for kind in kinds}
    return pd.DataFrame(values)


def read(path: Path, form: str) -> pd.DataFrame:
    return TabularDataset([str(path)], {"format": form}).to_pandas_dataframe()


@pytest.mark.filterwarnings("ignore:.*float_precision", "ignore:.*null-like values")
@settings(max_examples=30, deadline=None)
@given(frames())
def test_a_csv_file_is_what_pandas_reads(frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        frame.to_csv(path, index=False)
        # By default pandas may miss the nearest float in the last digit.
        expected = pd.read_csv(path, float_precision="round_trip")
        pd.testing.assert_frame_equal(read(path, "delimited"), expected)


@settings(max_examples=20, deadline=None)
@given(frames())
def test_a_parquet_file_is_what_pandas_reads(frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        frame.to_parquet(path)
        pd.testing.assert_frame_equal(read(path, "parquet"), pd.read_parquet(path))
