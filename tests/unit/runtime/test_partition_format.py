from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.runtime.partition_format import PartitionFormat


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("{country}/data.csv", "raw/fr/data.csv", {"country": "fr"}),
        ("/{country}/data.csv", "fr/data.csv", {"country": "fr"}),
        ("{country}/data.csv", "s3://bucket/raw/fr/data.csv", {"country": "fr"}),
        ("{user}/{genre}.csv", "/raw/ann/rock.csv", {"user": "ann", "genre": "rock"}),
        ("{kind}-{number}.csv", "a-b-1.csv", {"kind": "a", "number": "b-1"}),
        ("country={country}/*.parquet", "raw/country=fr/part-0.parquet", {"country": "fr"}),
        ("{date:yyyy/MM/dd}/d.csv", "raw/2026/03/01/d.csv", {"date": datetime(2026, 3, 1)}),
        ("{at:yyyyMMdd-HHmmss}.csv", "20260301-235959.csv", {"at": datetime(2026, 3, 1, 23, 59, 59)}),
        ("{year:yyyy}/*", "2026/anything", {"year": datetime(2026, 1, 1)}),
        ("{a}.csv", "a.b/c d+e.csv", {"a": "c d+e"}),
    ],
)
def test_the_end_of_a_path_gives_the_values(text: str, path: str, values: dict[str, Any]) -> None:
    assert PartitionFormat.parse(text).values(path) == values


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{country}/data.csv", "data.csv"),
        ("{country}/data.csv", "fr/data.csv.gz"),
        ("{country}/data.csv", "fr/dataXcsv"),
        ("{country}/data.csv", "fr/data.csv\n"),
        ("raw/{country}.csv", "draw/fr.csv"),
        ("{a}/*.csv", "x/deep/y.csv/z"),
        ("{date:yyyy/MM/dd}/d.csv", "2026/13/01/d.csv"),
        ("{date:yyyy/MM/dd}/d.csv", "2026/1/1/d.csv"),
    ],
)
def test_a_path_that_ends_otherwise_is_no_match(text: str, path: str) -> None:
    assert PartitionFormat.parse(text).values(path) is None


def test_columns_come_in_the_order_of_the_text_with_their_kinds() -> None:
    columns = PartitionFormat.parse("{b}/{when:yyyy-MM}/{a}.csv").columns
    assert list(columns.items()) == [("b", "text"), ("when", "time"), ("a", "text")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "it is a text such as"),
        ("/", "it is a text such as"),
        ("data.csv", "names no column"),
        ("{}/data.csv", "a column has no name"),
        ("{a}/{a}.csv", "'a' is there twice"),
        ("{a}{b}.csv", "nothing between them"),
        ("{a/data.csv", "braces do not pair"),
        ("{{a}}", "braces do not pair"),
        ("{when:MM/dd}", "'MM/dd'; write yyyy"),
        ("{when:yyyy/DD}", "'yyyy/DD'; write yyyy"),
        ("{when:yyyyMMMM}", "each once"),
    ],
)
def test_a_format_that_cannot_be_meant_is_refused(text: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=f"partition_format .* cannot be used: .*{sentence}"):
        PartitionFormat.parse(text)
