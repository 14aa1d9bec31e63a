"""Datasets: data that no step of the pipeline makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import field_validator

from airflow_mlpipe.model.datastore import Address, Datastore, address_of, is_place
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.inputs import DataInput, TableInput, TabularFormat
from airflow_mlpipe.model.query import PlainValue, QueryDataset, as_parameters, query_and_connection
from airflow_mlpipe.model.registered import LATEST, RegisteredDataset, Version
from airflow_mlpipe.model.registering import registering
from airflow_mlpipe.runtime.tables.operations import Operation, TableOperations
from airflow_mlpipe.runtime.tables.options import (
    MISSING,
    DelimitedOptions,
    JsonLinesOptions,
    ParquetOptions,
    as_header,
)

if TYPE_CHECKING:
    from airflow_mlpipe.runtime.partition_format import PartitionFormat

Identity = Literal["content", "etag", "definition"]


class SourceDataset(Declaration):
    """Files at one or more places, named by paths or URLs that may hold ``*``, or in datastores.

    A relative path starts at the folder of the DAG file. ``identity`` says what makes the data the same
    as before: its ``content`` (default for local files), the ``etag`` and size of each file (default
    for URLs), or only its ``definition``, the paths themselves (SDK v1's rule). With ``partition_format`` it
    has only the files whose paths end as that says, see :class:`PartitionFormat`.
    """

    paths: tuple[str, ...]
    identity: Identity | None = None
    partition_format: str | None = None

    @field_validator("paths", mode="before")
    @classmethod
    def _paths_are_a_list(cls, paths: object) -> object:
        several = isinstance(paths, Sequence) and not isinstance(paths, (str, bytes)) and not is_place(paths)
        given = list(cast("Sequence[object]", paths)) if several else [paths]
        if not given:
            raise ValueError("a dataset needs at least one path")
        return tuple(address_of(path) for path in given)

    @field_validator("partition_format")
    @classmethod
    def _partition_format_can_be_read(cls, text: str | None) -> str | None:
        return None if text is None else _parsed(text).text

    @property
    def selection(self) -> PartitionFormat | None:
        """What says which files are meant; None when all of them are."""
        return None if self.partition_format is None else _parsed(self.partition_format)

    @property
    def default_input_name(self) -> None:
        return None

    def as_unnamed_input(self) -> DataInput:
        return DataInput(source=self)

    def as_named_input(self, name: str) -> DataInput:
        """This dataset as the input *name*, which is its key in ``run.input_datasets``."""
        return self.as_unnamed_input().as_named_input(name)

    def register(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None
    ) -> RegisteredDataset:
        """Register what is there now as the next version of the dataset *name*; nothing is copied.

        It is for a plain ``@task``, a script or a console where Airflow is configured; relative paths start
        at the working directory. Returns the version; when the latest one holds the same, that is it. Raises
        UserError when nothing is there, StoreError when a server or the datastore fails.
        """
        done = registering().register_dataset(self, name, description=description, tags=tags)
        return RegisteredDataset(name, done.version)


class FileDataset(SourceDataset):
    """Files as files. The script gets the path of the file when there is one, else of a folder."""

    def as_mount(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_download(path_on_compute)

    def as_direct(self) -> DataInput:
        return self.as_unnamed_input().as_direct()


class TabularDataset(SourceDataset, TableOperations):
    """Files as one table. The script gets an object that reads it, see ``run.input_datasets``."""

    table: TabularFormat

    def operations_so_far(self) -> Sequence[Operation]:
        return self.table.operations

    def _then(self, **operation: Any) -> TabularDataset:
        return self.model_copy(update={"table": self.table.then(**operation)})

    def as_unnamed_input(self) -> DataInput:
        return TableInput(source=self, tabular=self.table)


class Dataset:
    """The v1 names by which datasets are made: ``Dataset.File...`` and ``Dataset.Tabular...``."""

    @staticmethod
    def get_by_name(
        name: str, version: Version | str = LATEST, *, identity: Literal["version"] | None = None
    ) -> RegisteredDataset:
        """The dataset that is registered as *name*, in *version* or in the latest when the task runs.

        With ``identity="version"`` files that no step made count as they were registered, unseen.
        """
        return RegisteredDataset(name, version, identity=identity)

    class File:
        @staticmethod
        def from_files(
            path: Address | Sequence[Address],
            *,
            identity: Identity | None = None,
            partition_format: str | None = None,
        ) -> FileDataset:
            """Files or folders, by paths, URLs, or places in datastores; globs are allowed.

            With *partition_format*, such as ``{country}/{date:yyyy/MM/dd}/data.csv``, only files whose paths
            end so, as the script is shown them.
            """
            return FileDataset(paths=path, identity=identity, partition_format=partition_format)

    class Tabular:
        """Tables. Several files are one below the other, in the order of their paths; columns go by name.

        With *include_path*, a first column ``Path`` tells each row's file; with *partition_format*, columns
        are read off the paths, and only files with such paths count.
        """

        @staticmethod
        def from_delimited_files(
            path: Address | Sequence[Address],
            *,
            separator: str = ",",
            header: object = True,
            encoding: str = "utf8",
            infer_column_types: bool = True,
            set_column_types: Mapping[str, str] | None = None,
            null_values: Sequence[str] = MISSING,
            include_path: bool = False,
            partition_format: str | None = None,
            support_multi_line: bool = True,
            identity: Identity | None = None,
        ) -> TabularDataset:
            """Delimited text files, also compressed ones.

            - *header*: True when the first line of each file names the columns, False when none does,
              "first_file" when that of the first does; v1's ``PromoteHeadersBehavior`` is understood;
            - *set_column_types* by column: "int", "float", "str", "bool", "datetime" or "datetime:%d.%m.%Y";
              the others are what all of their values can be, or texts without *infer_column_types*;
            - *null_values*: the texts that mean a missing value, those of pandas unless given;
            - *support_multi_line* is v1's; line breaks in quotation marks always belong to the value.
            """
            options = DelimitedOptions(
                include_path=include_path,
                partition_format=partition_format,
                separator=separator,
                header=as_header(header),
                encoding=encoding,
                infer_column_types=infer_column_types,
                column_types=set_column_types or {},
                null_values=null_values,
            )
            return _table(path, identity, options)

        @staticmethod
        def from_parquet_files(
            path: Address | Sequence[Address],
            *,
            include_path: bool = False,
            partition_format: str | None = None,
            identity: Identity | None = None,
        ) -> TabularDataset:
            """Parquet files."""
            return _table(path, identity, ParquetOptions(include_path, partition_format))

        @staticmethod
        def from_json_lines_files(
            path: Address | Sequence[Address],
            *,
            encoding: str = "utf8",
            include_path: bool = False,
            partition_format: str | None = None,
            identity: Identity | None = None,
        ) -> TabularDataset:
            """Files with one JSON object a line, also compressed ones."""
            return _table(path, identity, JsonLinesOptions(include_path, partition_format, encoding))

        @staticmethod
        def from_sql_query(
            query: str | tuple[Datastore | str, str],
            connection: str | None = None,
            *,
            parameters: Sequence[PlainValue] | Mapping[str, PlainValue] | None = None,
            query_timeout: float | timedelta | None = None,
            identity: Literal["content", "definition"] = "content",
        ) -> QueryDataset:
            """The rows of *query* on the database of an Airflow *connection*, see :class:`QueryDataset`.

            ``(connection, query)``, as v1 has it, is understood in place of the query.
            """
            text, connection_id = query_and_connection(query, connection)
            return QueryDataset(
                query=text,
                connection=connection_id,
                parameters=as_parameters(parameters),
                query_timeout=query_timeout,
                identity=identity,
            )


def _table(
    path: Address | Sequence[Address],
    identity: Identity | None,
    options: DelimitedOptions | ParquetOptions | JsonLinesOptions,
) -> TabularDataset:
    table = TabularFormat.of(options)
    return TabularDataset(
        paths=path, identity=identity, partition_format=options.partition_format, table=table
    )


def _parsed(partition_format: str) -> PartitionFormat:
    # Few DAG files need it, and all of them are parsed again and again.
    from airflow_mlpipe.runtime.partition_format import PartitionFormat

    return PartitionFormat.parse(partition_format)
