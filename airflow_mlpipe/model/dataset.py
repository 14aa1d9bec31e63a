"""Datasets: data that no step of the pipeline makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.inputs import DataInput, TabularFormat

Identity = Literal["content", "etag", "definition"]


class SourceDataset(Declaration):
    """Files at one or more places, named by paths or URLs that may hold ``*``.

    A relative path starts at the folder of the DAG file. ``identity`` says what makes the data the same
    as before: its ``content`` (default for local files), the ``etag`` and size of each file (default
    for URLs), or only its ``definition``, the paths themselves (SDK v1's rule).
    """

    paths: tuple[str, ...]
    identity: Identity | None = None

    @field_validator("paths", mode="before")
    @classmethod
    def _paths_are_a_list(cls, paths: object) -> object:
        given = [paths] if isinstance(paths, (str, bytes)) or not isinstance(paths, Sequence) else list(paths)
        if not given:
            raise ValueError("a dataset needs at least one path")
        for path in given:
            if not isinstance(path, str) or not path.strip() or "\0" in path:
                raise ValueError(f"a dataset's path is a text such as 's3://bucket/raw/', not {path!r}")
        return tuple(given)

    @property
    def default_input_name(self) -> None:
        return None

    def as_unnamed_input(self) -> DataInput:
        return DataInput(source=self)

    def as_named_input(self, name: str) -> DataInput:
        """This dataset as the input *name*, which is its key in ``run.input_datasets``."""
        return self.as_unnamed_input().as_named_input(name)


class FileDataset(SourceDataset):
    """Files as files. The script gets the path of the file when there is one, else of a folder."""

    def as_mount(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_download(path_on_compute)

    def as_direct(self) -> DataInput:
        return self.as_unnamed_input().as_direct()


class TabularDataset(SourceDataset):
    """Files as one table. The script gets an object that reads it, see ``run.input_datasets``."""

    table: TabularFormat

    def keep_columns(self, columns: Sequence[str] | str) -> TabularDataset:
        """The table with only these columns, in this order."""
        return self._then(keep_columns=_column_names(columns))

    def drop_columns(self, columns: Sequence[str] | str) -> TabularDataset:
        """The table without these columns."""
        return self._then(drop_columns=_column_names(columns))

    def random_split(
        self, percentage: float, seed: int | None = None
    ) -> tuple[TabularDataset, TabularDataset]:
        """Two tables, the first with about *percentage* (0 to 1) of the rows; a seed fixes the split."""
        if not 0 <= percentage <= 1:
            raise DefinitionError(f"random_split percentage is {percentage!r}; it must lie between 0 and 1")
        split = {"percentage": float(percentage), "seed": 0 if seed is None else seed}
        return self._then(random_split={**split, "part": 0}), self._then(random_split={**split, "part": 1})

    def _then(self, **operation: Any) -> TabularDataset:
        return self.model_copy(update={"table": self.table.then(**operation)})

    def as_unnamed_input(self) -> DataInput:
        return DataInput(source=self, tabular=self.table)


class Dataset:
    """The v1 names by which datasets are made: ``Dataset.File...`` and ``Dataset.Tabular...``."""

    class File:
        @staticmethod
        def from_files(path: str | Sequence[str], *, identity: Identity | None = None) -> FileDataset:
            """Files or folders, by paths or URLs; globs are allowed."""
            return FileDataset(paths=path, identity=identity)

    class Tabular:
        @staticmethod
        def from_delimited_files(
            path: str | Sequence[str],
            *,
            separator: str = ",",
            header: bool = True,
            encoding: str = "utf8",
            identity: Identity | None = None,
        ) -> TabularDataset:
            """Delimited text files as one table; with *header*, each file's first line names the columns."""
            options = {"separator": separator, "header": header, "encoding": encoding}
            table = TabularFormat(format="delimited", options=options)
            return TabularDataset(paths=path, identity=identity, table=table)

        @staticmethod
        def from_parquet_files(
            path: str | Sequence[str], *, identity: Identity | None = None
        ) -> TabularDataset:
            """Parquet files as one table."""
            return TabularDataset(paths=path, identity=identity, table=TabularFormat(format="parquet"))


def _column_names(columns: Sequence[str] | str) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)
