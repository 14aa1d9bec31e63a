"""Writing tables as files, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow
from airflow_mlpipe.runtime.tables.query import Query

# Parquet is read by groups of rows; many small ones make it slow.
_GROUP = 1 << 17


def write_parquet(query: Query, path: Path) -> None:
    """Write the rows to *path*, whose folder is made."""
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    with parquet.ParquetWriter(path, query.schema) as writer:
        for group in _groups(query):
            writer.write_table(group)


def write_delimited(query: Query, path: Path, separator: str) -> None:
    """Write the rows to *path*, whose folder is made, with a header."""
    from pyarrow import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    options = csv.WriteOptions(delimiter=separator)
    with csv.CSVWriter(path, query.schema, write_options=options) as writer:
        for batch in query.batches():
            try:
                writer.write_batch(batch)
            except arrow().ArrowException as error:
                raise UserError(f"the table cannot be written as delimited text: {error}") from error


def write_partitions(query: Query, keys: Sequence[str], folder: Path) -> list[Path]:
    """Write the rows to ``folder/<value of the first key>/.../part-<number>.parquet``, without the keys.

    Returns the files. Raises UserError for a row without a value of a key, or with one that is no name.
    """
    from pyarrow import parquet

    rest = [column for column in query.columns if column not in keys]
    written = []
    for number, group in enumerate(_groups(query)):
        for values, rows in _rows_by(group, keys).items():
            path = folder.joinpath(*values) / f"part-{number:05}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(group.select(rest).take(rows), path)
            written.append(path)
    return sorted(written)


def _rows_by(table: Any, keys: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """The numbers of the rows of *table* by the names that their values of *keys* make."""
    found: dict[tuple[str, ...], list[int]] = {}
    named: dict[tuple[Any, ...], tuple[str, ...]] = {}
    columns = [table.column(key).to_pylist() for key in keys]
    for row, values in enumerate(zip(*columns, strict=True)):
        if values not in named:
            named[values] = tuple(map(_name, keys, values))
        found.setdefault(named[values], []).append(row)
    return found


def _name(key: str, value: Any) -> str:
    name = "" if value is None else str(value)
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UserError(
            f"column {key!r} has the value {value!r}, which cannot name a folder; filter such rows, or "
            "partition by another column"
        )
    return name


def _groups(query: Query) -> Iterator[Any]:
    """The rows as tables of about as many rows as a group of Parquet should have."""
    pyarrow = arrow()
    waiting: list[Any] = []
    rows = 0
    for batch in query.batches():
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _GROUP:
            yield pyarrow.Table.from_batches(waiting, query.schema)
            waiting, rows = [], 0
    if rows:
        yield pyarrow.Table.from_batches(waiting, query.schema)
