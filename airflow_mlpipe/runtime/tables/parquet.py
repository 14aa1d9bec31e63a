"""Parquet, by Arrow: only the columns and the row groups that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.conditions import answers
from airflow_mlpipe.runtime.tables.engine import arrow, compute
from airflow_mlpipe.runtime.tables.expressions import Tree, asks_for_times, columns_in
from airflow_mlpipe.runtime.tables.files import TableFile
from airflow_mlpipe.runtime.tables.options import ParquetOptions
from airflow_mlpipe.runtime.tables.reader import in_order
from airflow_mlpipe.runtime.tables.schemas import united

_ROWS = 1 << 16


class ParquetFiles:
    """Reads Parquet files, whose columns may differ."""

    def __init__(self, files: Sequence[TableFile], options: ParquetOptions) -> None:
        self._files = files
        self._schemas: dict[TableFile, Any] = {}

    def columns(self) -> list[str]:
        return in_order([self._schema(file).names for file in self._files])

    def schema(self, columns: Sequence[str]) -> Any:
        return united({str(file): self._schema(file) for file in self._files}, columns)

    def batches(self, file: TableFile, schema: Any, where: Tree | None) -> Iterator[Any]:
        own = self._schema(file)
        if own is None or not own.names:
            return
        from pyarrow import dataset

        pushed = _pushed_down(where, own)
        opened, path = file.opened()
        try:
            yield from dataset.dataset(path, filesystem=opened, format="parquet", schema=own).to_batches(
                columns=[name for name in schema.names if name in own.names],
                filter=pushed,
                batch_size=_ROWS,
                batch_readahead=2,
                fragment_readahead=1,
            )
        except (arrow().ArrowException, OSError) as error:
            raise _unreadable(file, error) from error

    def _schema(self, file: TableFile) -> Any:
        """The columns of *file*, without what pandas noted on its index: that is a column as any other."""
        from pyarrow import parquet

        if file not in self._schemas:
            opened, path = file.opened()
            try:
                found = parquet.read_schema(path, filesystem=opened).remove_metadata()
            except (arrow().ArrowException, OSError) as error:
                raise _unreadable(file, error) from error
            if len(set(found.names)) < len(found.names):
                raise UserError(f"{file} has two columns of one name, among: {', '.join(found.names)}")
            self._schemas[file] = found
        return self._schemas[file]


def _pushed_down(where: Tree | None, schema: Any) -> Any:
    """*where* as Arrow asks it of row groups; None when it cannot be asked so."""
    if where is None or asks_for_times(where) or not set(columns_in(where)) <= set(schema.names):
        return None
    return answers(where, schema, compute().field)


def _unreadable(file: TableFile, error: Exception) -> UserError:
    return UserError(f"{file} cannot be read as Parquet: {error}; is it a Parquet file, and whole?")
