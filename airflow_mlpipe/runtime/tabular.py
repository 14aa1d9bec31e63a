"""``TabularDataset``: files that the script reads as one table, when it asks for the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.errors import DefinitionError, DocumentError
from airflow_mlpipe.runtime.tables.engine import arrow, pandas, polars
from airflow_mlpipe.runtime.tables.files import table_files
from airflow_mlpipe.runtime.tables.operations import Operation, TableOperations, checked_operations
from airflow_mlpipe.runtime.tables.query import Query
from airflow_mlpipe.runtime.tables.source import FORMATS, TableSource
from airflow_mlpipe.runtime.tables.writing import write_delimited, write_parquet, write_partitions

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class TabularDataset(TableOperations):
    """A table whose rows are not read before one of the ``to_`` methods asks for them.

    *definition* is ``{"format", "options", "operations", "root"}``. The format is ``delimited``, ``parquet``
    or ``json_lines``; options and operations are as :mod:`tables.options` and :mod:`tables.operations` have
    them. ``root`` is the folder in which paths of files are told, without it the one that all of them share.
    Several files are one below the other, in the order of *paths*.

    Raises DocumentError for a definition of another shape. What reads rows raises UserError for files that
    cannot be read as they are said to be, for a column that is not there, with those that are, and for a
    library that is not installed.
    """

    def __init__(self, paths: Sequence[str], definition: Mapping[str, Any], name: str = "") -> None:
        self.name = name
        form = str(definition.get("format"))
        if form not in FORMATS:
            known = ", ".join(FORMATS)
            raise DocumentError(f"tabular input {name!r} has the format {form!r}; known are {known}")
        try:
            self._operations = checked_operations(definition.get("operations", []))
            options = FORMATS[form][0].from_json(definition.get("options", {}))
        except DocumentError as error:
            raise DocumentError(f"tabular input {name!r}: {error}") from error
        self._question = [list(paths), form, options.as_json()]
        self._source = TableSource(table_files(paths, definition.get("root")), form, options)

    @property
    def id(self) -> str:
        """The digest of the paths and the definition: the same question has the same id."""
        question = [*self._question, self._operations]
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return self._query().columns

    @property
    def partition_keys(self) -> list[str]:
        """The columns that come from the paths of files, by ``partition_format``."""
        return self._source.partition_columns

    def operations_so_far(self) -> Sequence[Operation]:
        return self._operations

    def to_pandas_dataframe(self) -> pd.DataFrame:
        """The table as a DataFrame of pandas, with the types that pandas itself gives."""
        pandas()
        frame: pd.DataFrame = self.to_pyarrow().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """The table as a DataFrame of polars."""
        frame: pl.DataFrame = polars().from_arrow(self.to_pyarrow())
        return frame

    def to_pyarrow(self) -> pa.Table:
        """The table as a Table of pyarrow."""
        query = self._query()
        return arrow().Table.from_batches(query.batches(), query.schema)

    def to_parquet_files(self, folder: str | Path) -> str:
        """Write the table to ``folder/data.parquet``, in bounded memory; returns the file's path."""
        path = Path(folder) / "data.parquet"
        write_parquet(self._query(), path)
        return str(path)

    def to_csv_files(self, folder: str | Path, separator: str = ",") -> str:
        """Write the table to ``folder/data.csv``, in bounded memory; returns the file's path."""
        path = Path(folder) / "data.csv"
        write_delimited(self._query(), path, separator)
        return str(path)

    def partition_by(self, partition_keys: Sequence[str] | str, target: str | Path) -> TabularDataset:
        """Write the table below the folder *target*, in a folder for each value of each key.

        Returns the table that was written. Its ``partition_format`` is ``{key}/.../*.parquet``, by which a
        later step reads it; keys are texts then, and come first. Raises UserError for a row that has no value
        for a key, or one that cannot name a folder.
        """
        keys = [partition_keys] if isinstance(partition_keys, str) else list(partition_keys)
        if not keys:
            raise DefinitionError("partition_by needs at least one key")
        paths = write_partitions(self._query(), self.keep_columns(keys).columns, Path(target))
        form = "".join(f"{{{key}}}/" for key in keys) + "*.parquet"
        definition = {
            "format": "parquet",
            "options": {"partition_format": form},
            "root": str(target),
        }
        return TabularDataset([str(path) for path in paths], definition, name=self.name)

    def get_partition_key_values(self, partition_keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The values of *partition_keys*, or of all keys, that there are, each combination once.

        They come from the paths of files, of which none is read.
        """
        keys = self.partition_keys if partition_keys is None else list(partition_keys)
        if unknown := [key for key in keys if key not in self.partition_keys]:
            raise DefinitionError(
                f"{unknown[0]!r} is no partition key; there are: {', '.join(self.partition_keys) or 'none'}"
            )
        values = (self._source.said_by_path(file) for file in self._source.files)
        found = dict.fromkeys(tuple(said[key] for key in keys) for said in values)
        return [dict(zip(keys, combination, strict=True)) for combination in found]

    def _then(self, **operation: Any) -> TabularDataset:
        other = TabularDataset.__new__(TabularDataset)
        other.__dict__.update(self.__dict__, _operations=[*self._operations, operation])
        return other

    def _query(self) -> Query:
        return Query(self._source, self._operations)

    def __repr__(self) -> str:
        files = len(self._source.files)
        return f"TabularDataset(name={self.name!r}, files={files}, operations={self._operations!r})"
