"""Delimited text, by the CSV reader of Arrow: in blocks, so that a file of any size needs little memory."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow
from airflow_mlpipe.runtime.tables.expressions import Tree
from airflow_mlpipe.runtime.tables.files import TableFile
from airflow_mlpipe.runtime.tables.options import DelimitedOptions, codec
from airflow_mlpipe.runtime.tables.reader import in_order
from airflow_mlpipe.runtime.tables.types import FALSE, TRUE, Kind, arrow_type, as_times, widened

_BLOCK = 4 << 20
_LARGEST_BLOCK = 1 << 30


@dataclass(frozen=True)
class _Head:
    """The columns of one file, and how many of its lines come before the rows."""

    names: list[str]
    lines: int


class DelimitedFiles:
    """Reads delimited text. A column is what all of its values in all files can be, see ``types``."""

    def __init__(self, files: Sequence[TableFile], options: DelimitedOptions) -> None:
        self._files = files
        self._options = options
        self._encoding = codec(options.encoding)
        self._heads: dict[TableFile, _Head] | None = None
        self._kinds: dict[str, str] = {}
        self._block = _BLOCK

    def columns(self) -> list[str]:
        return in_order([head.names for head in self._heads_by_file().values()])

    def schema(self, columns: Sequence[str]) -> Any:
        pyarrow = arrow()
        kinds = self._kinds_of(columns)
        times = {column for column in columns if kinds[column].startswith("datetime")}
        return pyarrow.schema(
            (column, pyarrow.timestamp("us") if column in times else arrow_type(kinds[column]))
            for column in columns
        )

    def batches(self, file: TableFile, schema: Any, where: Tree | None) -> Iterator[Any]:
        kinds = self._kinds_of(schema.names)
        return self._read(file, {column: kinds[column] for column in schema.names})

    def _heads_by_file(self) -> dict[TableFile, _Head]:
        """The heads of the files that have one: an empty file has no columns and no rows."""
        if self._heads is None:
            heads: dict[TableFile, _Head] = {}
            for file in self._files:
                first = next(iter(heads.values()), None)
                head = self._head(file, first)
                if head is not None:
                    heads[file] = head
            self._heads = heads
            self._refuse_unknown_types(self.columns())
        return self._heads

    def _head(self, file: TableFile, first: _Head | None) -> _Head | None:
        found = self._first_record(file)
        if found is None:
            return None
        record, lines = found
        if self._options.header is True or (self._options.header == "first_file" and first is None):
            return _Head(_unique(record), lines)
        if self._options.header is False:
            return _Head([f"Column{number}" for number in range(1, len(record) + 1)], 0)
        assert first is not None
        if len(record) != len(first.names):
            raise UserError(
                f"{file} has {len(record)} columns, but the header of the first file names "
                f"{len(first.names)}: {', '.join(first.names)}"
            )
        return _Head(first.names, 0)

    def _first_record(self, file: TableFile) -> tuple[list[str], int] | None:
        """The first line that is not empty, as fields, and the number of lines up to its end."""
        try:
            with io.TextIOWrapper(file.lines(self._encoding), encoding="utf-8-sig", newline="") as text:
                reader = csv.reader(text, delimiter=self._options.separator)
                for count, record in enumerate(reader, start=1):
                    if record:
                        # Arrow counts records: a line break in quotation marks is none.
                        return record, count
        except (OSError, UnicodeError, csv.Error, arrow().ArrowException) as error:
            raise self._unreadable(file, error) from error
        return None

    def _refuse_unknown_types(self, columns: Sequence[str]) -> None:
        if unknown := [column for column in self._options.column_types if column not in columns]:
            raise UserError(
                f"column_types names the column {unknown[0]!r}; the files have: {', '.join(columns)}"
            )

    def _kinds_of(self, columns: Sequence[str]) -> Mapping[str, str]:
        """What *columns* are; found out by one pass over the files for those that are not known so far."""
        given: dict[str, str] = {**self._kinds, **self._options.column_types}
        unknown = [column for column in columns if column not in given]
        if unknown:
            self._kinds.update(
                self._infer(unknown) if self._options.infer_column_types else dict.fromkeys(unknown, "str")
            )
        return {**given, **self._kinds, **self._options.column_types}

    def _infer(self, columns: Sequence[str]) -> dict[str, str]:
        kinds: dict[str, Kind] = dict.fromkeys(columns, "unknown")
        for file in self._files:
            for batch in self._read(file, dict.fromkeys(columns, "str")):
                for name, values in zip(batch.schema.names, batch.columns, strict=True):
                    kinds[name] = widened(kinds[name], values)
        return dict(kinds)

    def _read(self, file: TableFile, kinds: Mapping[str, str]) -> Iterator[Any]:
        """The rows of *file* with those of the columns in *kinds* that it has."""
        head = self._heads_by_file().get(file)
        wanted = [] if head is None else [name for name in head.names if name in kinds]
        if head is None:
            return
        done = 0
        while True:
            try:
                for batch in _behind(self._open(file, head, wanted, kinds), done):
                    done += batch.num_rows
                    yield self._with_times(batch, kinds)
                return
            except (arrow().ArrowException, UnicodeError, OSError) as error:
                if "straddl" not in str(error) or self._block >= _LARGEST_BLOCK:
                    raise self._unreadable(file, error, head) from error
                # A row is larger than a block: begin again with larger ones, after the rows that were read.
                self._block *= 8

    def _open(
        self, file: TableFile, head: _Head, wanted: Sequence[str], kinds: Mapping[str, str]
    ) -> Iterator[Any]:
        from pyarrow import csv as arrow_csv

        # For a table without columns some column has to be read: its rows count.
        with arrow_csv.open_csv(
            file.lines(self._encoding),
            arrow_csv.ReadOptions(
                column_names=head.names, skip_rows_after_names=head.lines, block_size=self._block
            ),
            arrow_csv.ParseOptions(delimiter=self._options.separator, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types={name: arrow_type(kinds.get(name, "str")) for name in head.names},
                include_columns=wanted or head.names[:1],
                null_values=list(self._options.null_values),
                true_values=list(TRUE),
                false_values=list(FALSE),
                strings_can_be_null=True,
            ),
        ) as reader:
            for batch in reader:
                yield batch.select(wanted)

    def _with_times(self, batch: Any, kinds: Mapping[str, str]) -> Any:
        for position, name in enumerate(batch.schema.names):
            kind, _, form = kinds[name].partition(":")
            if kind == "datetime":
                times = as_times(batch.column(position), name, form or None)
                batch = batch.set_column(position, name, times)
        return batch

    def _unreadable(self, file: TableFile, error: Exception, head: _Head | None = None) -> UserError:
        what = str(error)
        if head is not None:
            what = re.sub(
                r"In CSV column #(\d+)", lambda match: f"column {head.names[int(match[1])]!r}", what
            )
        return UserError(
            f"{file} cannot be read as delimited text: {what}; check the separator "
            f"{self._options.separator!r}, the encoding {self._options.encoding!r} and the types of columns, "
            "or mend the file"
        )


def _behind(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    """*batches* without their first *rows* rows."""
    for batch in batches:
        passed = min(rows, batch.num_rows)
        rows -= passed
        if not passed or passed < batch.num_rows:
            yield batch.slice(passed) if passed else batch


def _unique(names: Sequence[str]) -> list[str]:
    """*names* as pandas has them: an empty one, and one that is there twice, get names of their own."""
    given = [name or f"Unnamed: {position}" for position, name in enumerate(names)]
    unique: list[str] = []
    for name in given:
        numbered = (f"{name}.{number}" for number in itertools.count(1))
        free = (other for other in numbered if other not in given and other not in unique)
        unique.append(name if name not in unique else next(free))
    return unique
