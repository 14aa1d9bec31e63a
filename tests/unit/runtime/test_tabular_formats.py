"""How delimited text, Parquet and JSON lines become tables, and what is no such file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_mlpipe.errors import DefinitionError, DocumentError, UserError
from airflow_mlpipe.runtime.tables import delimited, json_lines
from airflow_mlpipe.runtime.tables.options import DelimitedOptions
from airflow_mlpipe.runtime.tabular import TabularDataset

Read = Callable[..., TabularDataset]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A table of files with these contents: texts, bytes, or Arrow tables."""

    def read(*contents: Any, form: str = "delimited", ending: str = ".csv", **options: Any) -> TabularDataset:
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}{ending}"
            if isinstance(content, pa.Table):
                parquet.write_table(content, path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(str(path))
        return TabularDataset(paths, {"format": form, "options": options})

    return read


def rows(table: TabularDataset) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = table.to_pyarrow().to_pydict()
    return found


def types(table: TabularDataset) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.to_pyarrow().schema}


def test_a_column_is_what_all_of_its_values_in_all_files_can_be(read: Read) -> None:
    table = read("a,b,c\n007,1,1\n", "a,b,c\nx,2.5,\n")
    assert rows(table) == {"a": ["007", "x"], "b": [1.0, 2.5], "c": [1, None]}
    assert types(table) == {"a": "string", "b": "double", "c": "int64"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1\n-2", "int64"),
        (" 1\n2 ", "int64"),
        ("1\n2.5", "double"),
        ("1e5\n.5", "double"),
        ("inf\n1", "double"),
        ("True\nFALSE", "bool"),
        ("true\n1", "string"),
        ("1\ntrue", "string"),
        ("0x1F\n1", "string"),
        ("1_000\n2", "string"),
        ("2026-01-01\n2026-01-02", "string"),
        ("99999999999999999999\n1", "string"),
        ("99999999999999999999\n1.5", "double"),
        ("NA\n1", "int64"),
        ("NA\n\n", "double"),
    ],
)
def test_what_values_can_be_does_not_depend_on_where_they_stand(read: Read, text: str, kind: str) -> None:
    for lines in (text.split("\n"), text.split("\n")[::-1]):
        one_file = read("\n".join(["a,b", *(f"{line},x" for line in lines)]))
        assert types(one_file)["a"] == kind
        assert types(read(*(f"a,b\n{line},x\n" for line in lines)))["a"] == kind


def test_missing_values_are_those_of_pandas_unless_others_are_given(read: Read) -> None:
    text = 'a,b\nNA,"N/A"\n-,x\n'
    assert rows(read(text)) == {"a": [None, "-"], "b": [None, "x"]}
    assert rows(read(text, null_values=["-"])) == {"a": ["NA", None], "b": ["N/A", "x"]}


def test_types_can_be_given(read: Read) -> None:
    text = "i,s,d,t\n1,007,31.01.2026,2026-01-31T10:00:00+01:00\n2,008,01.02.2026,2026-02-01\n"
    given = {"i": "float", "s": "str", "d": "datetime:%d.%m.%Y", "t": "datetime"}
    assert rows(read(text, column_types=given)) == {
        "i": [1.0, 2.0],
        "s": ["007", "008"],
        "d": [datetime(2026, 1, 31), datetime(2026, 2, 1)],
        "t": [datetime(2026, 1, 31, 9), datetime(2026, 2, 1)],
    }
    assert types(read(text, infer_column_types=False)) == dict.fromkeys("isdt", "string")


@pytest.mark.parametrize(
    "encoding",
    ["utf8", "utf8bom", "utf16", "utf32", "latin1", "latin-1", "iso88591", "windows1252"],
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_encodings_and_compressed_files(read: Read, encoding: str, ending: str) -> None:
    codec = {"utf8bom": "utf-8-sig", "iso88591": "latin1", "windows1252": "cp1252"}.get(encoding, encoding)
    content = "größe;n\nß;1\n".encode(codec)
    content = gzip.compress(content) if ending.endswith("gz") else content
    assert rows(read(content, encoding=encoding, separator=";", ending=ending)) == {"größe": ["ß"], "n": [1]}


def test_line_breaks_quotes_and_empty_lines(read: Read) -> None:
    assert rows(read('\r\n\r\n"a\nb",c\r\n"x\r\ny","q""r"\r\n\r\n5" pipe,\r\n\r\n')) == {
        "a\nb": ["x\r\ny", '5" pipe'],
        "c": ['q"r', None],
    }


def test_columns_without_a_name_of_their_own_are_named_as_by_pandas(read: Read) -> None:
    assert rows(read(",a,a,a.1\n1,2,3,4\n")) == {"Unnamed: 0": [1], "a": [2], "a.2": [3], "a.1": [4]}


def test_files_with_other_columns_are_matched_by_name(read: Read) -> None:
    table = read("a,b\n1,2\n", "c,b\n3,4\n")
    assert rows(table) == {"a": [1, None], "b": [2, 4], "c": [None, 3]}
    assert rows(table.keep_columns("c")) == {"c": [None, 3]}


def test_a_header_is_in_each_file_in_the_first_or_nowhere(read: Read) -> None:
    assert rows(read("a,b\n1,2\n", "3,4\n", header="first_file")) == {"a": [1, 3], "b": [2, 4]}
    assert rows(read("1,2\n", "3,4\n", header=False)) == {"Column1": [1, 3], "Column2": [2, 4]}
    with pytest.raises(
        UserError, match=r"1\.csv has 1 columns, but the header of the first file names 2: a, b"
    ):
        rows(read("a,b\n1,2\n", "3\n", header="first_file"))


@pytest.mark.parametrize("form", ["delimited", "json_lines"])
def test_empty_files_have_no_rows_and_no_columns(read: Read, form: str) -> None:
    text = {"delimited": "a\n1\n", "json_lines": '{"a": 1}\n'}[form]
    assert rows(read("", text, "\n", form=form)) == {"a": [1]}
    assert rows(read("", form=form)) == {}


def test_a_header_alone_has_columns_without_rows(read: Read) -> None:
    assert rows(read("a,b\n")) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1\n", {}, "Expected 2 columns, got 1"),
        ("a,b\n1,2,3\n", {}, "Expected 2 columns, got 3"),
        ("a\ngrün\n".encode("latin1"), {}, "the encoding 'utf8'"),
        ("a\ngrün\n", {"encoding": "ascii"}, "the encoding 'ascii'"),
        (
            "a,b\n1,x\n",
            {"column_types": {"b": "int"}},
            "column 'b': CSV conversion error to int64: invalid value 'x'",
        ),
        (
            "a,b\n1,x\n",
            {"column_types": {"c": "int"}},
            "column_types names the column 'c'; the files have: a, b",
        ),
        ("a\nx\n", {"column_types": {"a": "datetime"}}, "column 'a' has a value that is no time"),
    ],
)
def test_a_file_that_is_not_as_said_is_an_error(
    read: Read, content: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        rows(read(content, **options))


def test_a_row_may_be_larger_than_a_block(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 64)
    text = "a,n\n" + "".join(f"{'x' * (400 if n == 30 else 5)},{n}\n" for n in range(60))
    assert rows(read(text).keep_columns("n")) == {"n": list(range(60))}
    assert rows(read(text, infer_column_types=False))["n"] == [str(n) for n in range(60)]


def test_options_that_cannot_be_are_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"separator": ";;"},
        {"separator": "\n"},
        {"header": 1},
        {"header": "first"},
        {"encoding": "utf-9"},
        {"encoding": "base64"},
        {"column_types": {"a": "number"}},
        {"null_values": "NA"},
        {"partition_format": "data.csv"},
    ]
    for options in wrong:
        with pytest.raises(DefinitionError, match=next(iter(options)).removesuffix("_types")):
            DelimitedOptions(**options)
        with pytest.raises(DocumentError, match="which cannot be"):
            TabularDataset([], {"format": "delimited", "options": options})
    with pytest.raises(DocumentError, match="known are"):
        TabularDataset([], {"format": "parquet", "options": {"separator": ","}})


def test_parquet_files_of_other_columns_and_types_are_one_table(read: Read) -> None:
    table = read(
        pa.table({"a": pa.array([1, 2], pa.int32()), "b.c": ["x", "y"]}),
        pa.table({"d": [True], "a": [0.5]}),
        form="parquet",
    )
    assert rows(table) == {"a": [1, 2, 0.5], "b.c": ["x", "y", None], "d": [None, None, True]}
    assert rows(table.keep_columns("b.c")) == {"b.c": ["x", "y", None]}
    assert rows(table.filter(table["b.c"] == "y")) == {"a": [2], "b.c": ["y"], "d": [None]}
    assert rows(table.skip(1).filter(table["a"] < 2)) == {"a": [0.5], "b.c": [None], "d": [True]}


def test_parquet_columns_without_a_type_in_common_are_an_error(read: Read) -> None:
    table = read(pa.table({"a": [1]}), pa.table({"a": ["x"]}), form="parquet")
    with pytest.raises(UserError, match=r"column 'a' is of type string in 1\.csv and of type int64 before"):
        rows(table)


def test_categories_and_times_of_parquet_can_be_asked_for(read: Read) -> None:
    content = pa.table(
        {
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "t": pa.array([0, 86_400_000_000_000], pa.timestamp("ns")),
        }
    )
    table = read(content, form="parquet")
    assert rows(table.filter(table["kind"] == "b"))["kind"] == ["b"]
    assert rows(table.filter(table["t"] > datetime(1970, 1, 1)))["kind"] == ["b"]


def test_what_is_no_parquet_file_is_an_error(read: Read) -> None:
    with pytest.raises(UserError, match=r"0\.csv cannot be read as Parquet"):
        rows(read("a,b\n", form="parquet"))


def test_json_lines_are_rows_of_which_a_field_has_one_type(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "_BLOCK", 20)
    lines = '{"a": 1, "t": "2026-01-01"}\n\n{"a": 1.5, "deep": {"x": [1]}}\n{"t": "x"}\n'
    table = read("\ufeff" + lines, '{"new": null}\n', form="json_lines")
    assert rows(table) == {
        "a": [1.0, 1.5, None, None],
        "t": ["2026-01-01", None, "x", None],
        "deep": [None, {"x": [1]}, None, None],
        "new": [None, None, None, None],
    }
    assert rows(table.keep_columns("t").take(1)) == {"t": ["2026-01-01"]}


@pytest.mark.parametrize(
    "contents", [("no json\n",), ('{"a": 1}\n{"a": "x"}\n',), ('{"a": 1}\n', '{"a": "x"}\n'), ("[1]\n",)]
)
def test_what_is_no_table_of_json_lines_is_an_error(read: Read, contents: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"cannot be read as JSON lines|is of type string in 1\.csv"):
        rows(read(*contents, form="json_lines"))


def test_paths_of_files_can_be_columns(tmp_path: Path) -> None:
    paths = []
    for country, day in (("de", "2026/01/31"), ("fr", "2026/02/01")):
        path = tmp_path / country / day / "data.csv"
        path.parent.mkdir(parents=True)
        path.write_text("n\n1\n")
        paths.append(str(path))
    options = {"include_path": True, "partition_format": "{country}/{date:yyyy/MM/dd}/data.csv"}
    definition = {"format": "delimited", "options": options}
    table = TabularDataset(paths, {**definition, "root": str(tmp_path)})
    assert (
        rows(table)
        == rows(TabularDataset(paths, definition))
        == {
            "Path": ["/de/2026/01/31/data.csv", "/fr/2026/02/01/data.csv"],
            "country": ["de", "fr"],
            "date": [datetime(2026, 1, 31), datetime(2026, 2, 1)],
            "n": [1, 1],
        }
    )
    assert rows(table.filter(table["country"] == "fr").keep_columns(["n", "date"])) == {
        "n": [1],
        "date": [datetime(2026, 2, 1)],
    }
    with pytest.raises(UserError, match=r"/data\.csv does not end as partition_format says"):
        rows(TabularDataset(paths[:1], definition))
    with pytest.raises(UserError, match="column 'n' is in the files and in their paths"):
        rows(TabularDataset(paths, {**definition, "options": {"partition_format": "{n}/*.csv"}}))


def test_files_may_lie_on_a_server(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/tables/2026/a.csv.gz", gzip.compress(b"n\n1\n"))
    memory.pipe_file("/tables/2025/a.csv", b"n\n2\n")
    urls = ["memory://tables/2026/a.csv.gz", "memory://tables/2025/a.csv"]
    table = TabularDataset(urls, {"format": "delimited", "options": {"include_path": True}})
    assert rows(table) == {"Path": ["/2026/a.csv.gz", "/2025/a.csv"], "n": [1, 2]}
    memory.pipe_file("/tables/a.parquet", Path(table.to_parquet_files(tmp_path)).read_bytes())
    parquet_file = TabularDataset(["memory://tables/a.parquet"], {"format": "parquet"})
    assert rows(parquet_file.filter(parquet_file["n"] > 1).keep_columns("n")) == {"n": [2]}
