"""Frames of pandas, polars and pyarrow as Parquet; each can be read as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat

# pandas 3 calls its classes by the module where users find them, pandas 2 by the one where they are written.
PANDAS_FRAMES = ("pandas.DataFrame", "pandas.core.frame.DataFrame")
PANDAS_SERIES = ("pandas.Series", "pandas.core.series.Series")
POLARS_FRAME = "polars.dataframe.frame.DataFrame"
POLARS_LAZY_FRAME = "polars.lazyframe.frame.LazyFrame"
ARROW_TABLE = "pyarrow.lib.Table"

# Parquet has no word for a column without a name; a Series without one is marked in the file's metadata.
_UNNAMED_SERIES = b"mlpipe.unnamed_series"


class Frames(ArtifactFormat):
    """Parquet, by way of pyarrow. Equal tables become equal bytes, however their memory is laid out.

    A pandas index is kept, but is a column to the other libraries. A Series is a table of one column.
    """

    name = "parquet"
    file = "data.parquet"
    types = (*PANDAS_FRAMES, *PANDAS_SERIES, POLARS_FRAME, POLARS_LAZY_FRAME, ARROW_TABLE)

    def write(self, value: Any, path: Path) -> None:
        arrow = self._pyarrow()
        table = self._to_arrow(arrow, value).combine_chunks()
        try:
            _write(arrow, table, path)
        except arrow.ArrowException as error:
            raise _unwritable(_refused(arrow, table), error) from error

    def read(self, path: Path, wanted: str) -> Any:
        arrow = self._pyarrow()
        try:
            # Not read_table: it would take folders called like year=2026 for columns.
            with arrow.parquet.ParquetFile(path) as file:
                table = file.read()
            return self._from_arrow(table, wanted)
        except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
            raise DocumentError(
                f"{path.name} cannot be read as Parquet: {error}; run its producer again"
            ) from error

    def _pyarrow(self) -> Any:
        self.library("pyarrow.parquet", extra="frames")
        return self.library("pyarrow", extra="frames")

    def _to_arrow(self, arrow: Any, value: Any) -> Any:
        kind = self.type_of(value)
        if kind in PANDAS_SERIES:
            return _series_to_arrow(arrow, value)
        if kind in PANDAS_FRAMES:
            return _pandas_to_arrow(arrow, value)
        if kind == POLARS_LAZY_FRAME:
            return self._polars_to_arrow(arrow, value.collect())
        if kind == POLARS_FRAME:
            return self._polars_to_arrow(arrow, value)
        return value

    def _polars_to_arrow(self, arrow: Any, frame: Any) -> Any:
        polars = self.library("polars", extra="polars")
        for column in frame.get_columns():
            if column.dtype == polars.Object:  # would be written as addresses in this process's memory
                raise _unwritable(f"column {column.name!r}", "its values are Python objects")
            try:
                # A first row is enough: what pyarrow refuses is the type.
                column.head(1).to_arrow()
            except arrow.ArrowException as error:
                raise _unwritable(f"column {column.name!r}", error) from error
        return frame.to_arrow(
            compat_level=polars.CompatLevel.oldest()
        )  # the types that pyarrow knows longest

    def _from_arrow(self, table: Any, wanted: str) -> Any:
        if wanted == ARROW_TABLE:
            return table
        if wanted == POLARS_FRAME:
            return self.library("polars", extra="polars").from_arrow(table)
        if wanted == POLARS_LAZY_FRAME:
            return self.library("polars", extra="polars").from_arrow(table).lazy()
        if wanted not in self.types:
            raise ValueError(f"a {wanted} is no table")
        self.library("pandas", extra="frames")
        frame = table.to_pandas()
        return _only_column(table, frame) if wanted in PANDAS_SERIES else frame


def _pandas_to_arrow(arrow: Any, frame: Any) -> Any:
    for name, column in frame.items():
        if column.dtype == object and any(isinstance(value, (set, frozenset)) for value in column):
            raise _unwritable(f"column {name!r}", "it has sets, which have no order to write them in")
    try:
        table = arrow.Table.from_pandas(frame)
    except (arrow.ArrowException, TypeError, ValueError) as error:  # its message names the column
        raise _unwritable("table", "; ".join(map(str, error.args))) from error
    names = table.slice(0, 0).to_pandas().columns
    if list(names) != list(frame.columns):
        raise UserError(
            f"the table's column names {list(frame.columns)!r} would be read back as {list(names)!r}; "
            "give all columns names of one type, best text"
        )
    return table


def _series_to_arrow(arrow: Any, series: Any) -> Any:
    if series.name is not None:
        return _pandas_to_arrow(arrow, series.to_frame())
    table = _pandas_to_arrow(arrow, series.to_frame("value"))
    return table.replace_schema_metadata({**table.schema.metadata, _UNNAMED_SERIES: b"true"})


def _only_column(table: Any, frame: Any) -> Any:
    if len(frame.columns) != 1:
        raise UserError(
            f"a table of {len(frame.columns)} columns is no Series; "
            "annotate the parameter as pandas.DataFrame"
        )
    series = frame.iloc[:, 0]
    return series.rename(None) if _UNNAMED_SERIES in (table.schema.metadata or {}) else series


def _write(arrow: Any, table: Any, target: Any) -> None:
    # The names inside of lists stay as they are in the table, so that its schema comes back.
    arrow.parquet.write_table(table, target, compression="zstd", use_compliant_nested_type=False)


def _refused(arrow: Any, table: Any) -> str:
    """The first column that cannot be written, in words; the table when each can be written by itself."""
    for name in table.column_names:
        try:
            _write(arrow, table.select([name]), arrow.BufferOutputStream())
        except arrow.ArrowException:
            return f"column {name!r}"
    return "table"


def _unwritable(what: str, reason: object) -> UserError:
    return UserError(
        f"the {what} cannot be written as Parquet: {reason}; "
        "turn it into numbers, text, dates, or lists of them, or write a file to an Output[Path]"
    )


FORMATS = (Frames(),)
