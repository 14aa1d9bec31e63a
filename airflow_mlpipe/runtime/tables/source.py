"""The files of a table as rows: those that each has, and what its path says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.partition_format import PartitionFormat
from airflow_mlpipe.runtime.tables.delimited import DelimitedFiles
from airflow_mlpipe.runtime.tables.engine import arrow
from airflow_mlpipe.runtime.tables.expressions import Tree
from airflow_mlpipe.runtime.tables.files import TableFile
from airflow_mlpipe.runtime.tables.json_lines import JsonLines
from airflow_mlpipe.runtime.tables.options import (
    DelimitedOptions,
    JsonLinesOptions,
    ParquetOptions,
    TableOptions,
)
from airflow_mlpipe.runtime.tables.parquet import ParquetFiles
from airflow_mlpipe.runtime.tables.reader import Reader, in_order

FORMATS: Mapping[str, tuple[type[TableOptions], Callable[[Sequence[TableFile], Any], Reader]]] = {
    "delimited": (DelimitedOptions, DelimitedFiles),
    "parquet": (ParquetOptions, ParquetFiles),
    "json_lines": (JsonLinesOptions, JsonLines),
}
PATH = "Path"


class TableSource:
    """The rows of *files*, one file below the other.

    Columns are matched by name; where a file has not one that another has, its rows have no value there. What
    was found out about the files is kept, for all tables that are made of them.
    """

    def __init__(self, files: Sequence[TableFile], form: str, options: TableOptions) -> None:
        self.files = list(files)
        self._options = options
        self._reader = FORMATS[form][1](self.files, options)
        text = options.partition_format
        self._partitions = None if text is None else PartitionFormat.parse(text)

    @property
    def partition_columns(self) -> list[str]:
        """The columns that come from the paths of files."""
        return [] if self._partitions is None else list(self._partitions.columns)

    def columns(self) -> list[str]:
        """All columns, in order. Raises UserError for files that cannot be read."""
        from_paths = [*([PATH] if self._options.include_path else []), *self.partition_columns]
        from_files = self._reader.columns()
        if twice := [column for column in from_paths if column in from_files]:
            raise UserError(
                f"column {twice[0]!r} is in the files and in their paths; drop include_path, or name it "
                "otherwise in partition_format"
            )
        return in_order([from_paths, from_files])

    def schema(self, columns: Sequence[str]) -> Any:
        """The Arrow schema of *columns*; raises as :meth:`columns`."""
        pyarrow = arrow()
        found = self._reader.schema([column for column in columns if column not in self._path_types()])
        path_types = self._path_types()
        return pyarrow.schema(
            (column, path_types[column]) if column in path_types else found.field(column)
            for column in columns
        )

    def batches(self, schema: Any, where: Tree | None = None) -> Iterator[Any]:
        """The rows in order, as batches of *schema*; those that do not answer *where* may be left out."""
        path_types = self._path_types()
        own = arrow().schema([field for field in schema if field.name not in path_types])
        for file in self.files:
            said = self.said_by_path(file) if path_types else {}
            for batch in self._reader.batches(file, own, where):
                yield _filled(batch, schema, said)

    def said_by_path(self, file: TableFile) -> dict[str, Any]:
        """What the path of *file* says, by column. Raises UserError when it is not as partition_format."""
        said: dict[str, Any] = {PATH: file.inside} if self._options.include_path else {}
        if self._partitions is None:
            return said
        values = self._partitions.values(file.inside)
        if values is None:
            raise UserError(
                f"{file.inside} does not end as partition_format says, {self._partitions.text!r}; name a "
                "folder or pattern above what differs, for the step is shown paths from there on"
            )
        return {**said, **values}

    def _path_types(self) -> dict[str, Any]:
        pyarrow = arrow()
        types = {PATH: pyarrow.string()} if self._options.include_path else {}
        for column, kind in (self._partitions.columns if self._partitions is not None else {}).items():
            types[column] = pyarrow.timestamp("us") if kind == "time" else pyarrow.string()
        return types


def _filled(batch: Any, schema: Any, said: Mapping[str, Any]) -> Any:
    """*batch* with the columns of *schema*: its own, what the path *said*, and nulls."""
    pyarrow = arrow()
    rows = batch.num_rows
    arrays = []
    for field in schema:
        if field.name in said:
            arrays.append(pyarrow.repeat(pyarrow.scalar(said[field.name], field.type), rows))
        elif field.name in batch.schema.names:
            arrays.append(batch.column(field.name).cast(field.type))
        else:
            arrays.append(pyarrow.nulls(rows, field.type))
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
