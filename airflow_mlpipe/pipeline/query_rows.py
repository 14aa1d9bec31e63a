"""Rows of a database as Parquet files and a digest, some at a time."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import UserError

# Values of these are kept as they are; each has one spelling by ``ascii``, in every version of Python.
_PLAIN = frozenset(
    {bool, int, float, str, bytes, decimal.Decimal, type(None)}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)


class QueryRows:
    """Writes rows into *folder*, a Parquet file for each batch, and digests them.

    The digest is that of the columns' names and of the values in the order of the rows, however they come in
    batches. A value that is of no type of tables becomes a text: JSON for dicts and lists.
    """

    def __init__(self, folder: Path, who: str) -> None:
        self._folder = folder
        self._who = who
        self._digest = hashlib.sha256()
        self._parts = 0
        self.count = 0

    def add(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Take in the next *rows*. Raises UserError for values of which no table can be made."""
        if not self._parts:
            self._refuse_two_of_one_name(columns)
            self._digest.update(ascii(list(columns)).encode())
        values = [_plain(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        for row in zip(*values, strict=True):
            self._digest.update(b"\n" + ascii(row).encode())
        self._write(columns, values)
        self.count += len(rows)

    def digest(self) -> str:
        """The digest of the rows so far: 64 hex digits."""
        return self._digest.hexdigest()

    def _write(self, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise UserError(
                f"{self._who}: the rows of a query are written with pyarrow, which the worker lacks; install "
                "airflow-mlpipe[tabular] there"
            ) from error
        arrays = []
        for name, column in zip(columns, values, strict=True):
            try:
                arrays.append(pyarrow.array(column))
            except (pyarrow.ArrowException, OverflowError) as error:
                raise UserError(
                    f"{self._who}: column {name!r} of the query has values of which no column can be made: "
                    f"{error}; cast it to one type in the query"
                ) from error
        table = pyarrow.table(arrays, names=list(columns))
        parquet.write_table(table, self._folder / f"part-{self._parts:06}.parquet")
        self._parts += 1

    def _refuse_two_of_one_name(self, columns: Sequence[str]) -> None:
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise UserError(
                f"{self._who}: the query gives two columns the name {twice[0]!r}; give one another with AS"
            )


def _plain(values: Sequence[Any]) -> Sequence[Any]:
    """*values* as a table can hold them."""
    kinds = set(map(type, values))
    return values if kinds <= _PLAIN else [_plain_value(value) for value in values]


def _plain_value(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)
