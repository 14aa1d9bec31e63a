"""JSON lines, by the JSON reader of Arrow: blocks of whole lines, so that memory is bounded."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow
from airflow_mlpipe.runtime.tables.expressions import Tree
from airflow_mlpipe.runtime.tables.files import TableFile
from airflow_mlpipe.runtime.tables.options import JsonLinesOptions, codec
from airflow_mlpipe.runtime.tables.schemas import united

_BLOCK = 16 << 20


class JsonLines:
    """Reads files with one JSON object a line. Empty lines are passed over.

    A column has the type of its values in all files; texts that look like times stay texts.
    """

    def __init__(self, files: Sequence[TableFile], options: JsonLinesOptions) -> None:
        self._files = files
        self._encoding = codec(options.encoding)
        self._found: Any = None

    def columns(self) -> list[str]:
        return list(self._schema().names)

    def schema(self, columns: Sequence[str]) -> Any:
        found = self._schema()
        return arrow().schema([found.field(column) for column in columns])

    def batches(self, file: TableFile, schema: Any, where: Tree | None) -> Iterator[Any]:
        whole = self._schema()
        for block in self._blocks(file):
            yield from self._parsed(file, block, whole).select(schema.names).to_batches()

    def _schema(self) -> Any:
        """The columns of all files, found by one pass over them."""
        if self._found is None:
            pyarrow = arrow()
            found = pyarrow.schema([])
            for file in self._files:
                for block in self._blocks(file):
                    own = self._parsed(file, block, None).schema
                    own = pyarrow.schema([field.with_type(_without_times(field.type)) for field in own])
                    names = dict.fromkeys([*found.names, *own.names])
                    found = united({"what was read": found, str(file): own}, list(names))
            self._found = pyarrow.schema([field.with_type(_known(field.type)) for field in found])
        return self._found

    def _blocks(self, file: TableFile) -> Iterator[bytes]:
        """The text of *file*, cut at ends of lines into pieces of about 16 MiB."""
        try:
            with io.BufferedReader(file.lines(self._encoding)) as stream:
                if stream.peek(3).startswith(codecs.BOM_UTF8):
                    stream.read(3)
                while block := stream.read(_BLOCK):
                    block += stream.readline()
                    if block.strip():
                        yield block
        except (OSError, UnicodeError, arrow().ArrowException) as error:
            raise _unreadable(file, error) from error

    def _parsed(self, file: TableFile, block: bytes, schema: Any) -> Any:
        from pyarrow import json

        try:
            return json.read_json(
                io.BytesIO(block),
                json.ReadOptions(block_size=len(block)),
                json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
            )
        except arrow().ArrowException as error:
            raise _unreadable(file, error) from error


def _without_times(kind: Any) -> Any:
    """*kind* with texts in place of the times that Arrow takes some texts for."""
    pyarrow = arrow()
    if pyarrow.types.is_temporal(kind):
        return pyarrow.string()
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([field.with_type(_without_times(field.type)) for field in kind])
    if pyarrow.types.is_list(kind):
        return pyarrow.list_(_without_times(kind.value_type))
    return kind


def _known(kind: Any) -> Any:
    """*kind*, or floats for a column that never has a value."""
    return arrow().float64() if arrow().types.is_null(kind) else kind


def _unreadable(file: TableFile, error: Exception) -> UserError:
    return UserError(
        f"{file} cannot be read as JSON lines: {error}; "
        "each line is one JSON object, and a field has values of one type"
    )
