"""How a step takes in data: under which name, and by which way it reaches the script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration, checked_name
from airflow_mlpipe.runtime.tables.operations import Operation, TableOperations
from airflow_mlpipe.runtime.tables.options import (
    DelimitedOptions,
    JsonLinesOptions,
    ParquetOptions,
    as_header,
)

DataInputT = TypeVar("DataInputT", bound="DataInput")
AccessMode = Literal["mount", "download", "direct"]

# Raise it when the same files, options and operations become another table.
TABLE_READER = 2

# Each input's path is also an environment variable of its name; these would change the process itself.
RESERVED_VARIABLES = frozenset(
    {"PATH", "HOME", "SHELL", "USER", "LOGNAME", "HOSTNAME", "PWD", "CDPATH", "IFS", "ENV", "BASH_ENV"}
    | {"LANG", "TERM", "TMPDIR", "TEMP", "TMP"}
)
RESERVED_PREFIXES = ("LD_", "DYLD_", "PYTHON", "AIRFLOW", "MLPIPE_", "LC_", "OMP_", "CUDA_")


@runtime_checkable
class InputSource(Protocol):
    """Something a step can read: a dataset, or an output of another step."""

    @property
    def default_input_name(self) -> str | None:
        """The input's name when the author gives none; None lets its position name it."""


class TabularFormat(Declaration):
    """How files become a table: the format, its options, and what is done to the rows afterwards.

    ``options`` are those of the format's class in ``runtime.tables.options``, as JSON. ``operations`` are
    applied in order when the table is read, as ``runtime.tables.operations`` has them.
    """

    format: Literal["delimited", "parquet", "json_lines"]
    options: dict[str, Any] = Field(default_factory=dict)
    operations: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, options: DelimitedOptions | JsonLinesOptions | ParquetOptions) -> TabularFormat:
        """The format whose *options* these are."""
        return cls(format=_FORMATS[type(options)], options=options.as_json())

    def then(self, **operation: Any) -> TabularFormat:
        return self.model_copy(update={"operations": (*self.operations, operation)})


_FORMATS: dict[type, Literal["delimited", "parquet", "json_lines"]] = {
    DelimitedOptions: "delimited",
    JsonLinesOptions: "json_lines",
    ParquetOptions: "parquet",
}


class DataInput(Declaration):
    """A source bound to a step: what v1 calls a DatasetConsumptionConfig or an input binding.

    - ``mount``: the script reads the data where it lies, or as if it did;
    - ``download``: the step gets a copy of its own, which it may change;
    - ``direct``: the script gets the URL and reads it itself.

    ``path_on_compute`` fixes the absolute path at which the script finds the data.
    """

    source: Any
    name: str | None = None
    mode: AccessMode = "mount"
    path_on_compute: str | None = None
    tabular: TabularFormat | None = None

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str | None) -> str | None:
        return None if name is None else checked_input_name(name)

    @field_validator("path_on_compute")
    @classmethod
    def _path_is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise ValueError("path_on_compute must be an absolute path")
        return path

    def as_named_input(self, name: str) -> DataInput:
        """The same data under another name, which is also the name of its environment variable."""
        return self.model_copy(update={"name": checked_input_name(name)})

    def as_input(self, name: str) -> DataInput:
        """Another word for :meth:`as_named_input`, as v1 has it on outputs."""
        return self.as_named_input(name)

    def as_mount(self, path_on_compute: str | None = None) -> DataInput:
        """The script reads the data in place and must not change it."""
        return self._with(mode="mount", path_on_compute=path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DataInput:
        """The step gets a copy of its own, in its working directory or at *path_on_compute*."""
        return self._with(mode="download", path_on_compute=path_on_compute)

    def as_direct(self) -> DataInput:
        """The script gets the URL and reads it by itself."""
        return self._with(mode="direct", path_on_compute=None)

    def parse_delimited_files(
        self,
        separator: str = ",",
        header: object = True,
        encoding: str = "utf8",
        *,
        set_column_types: Mapping[str, str] | None = None,
        partition_format: str | None = None,
    ) -> TableInput:
        """The input as a table, read from delimited text files as ``from_delimited_files`` does."""
        options = DelimitedOptions(
            separator=separator,
            header=as_header(header),
            encoding=encoding,
            column_types=set_column_types or {},
            partition_format=partition_format,
        )
        return self._as_table(TabularFormat.of(options))

    def parse_parquet_files(self, *, partition_format: str | None = None) -> TableInput:
        """The input as a table, read from Parquet files."""
        return self._as_table(TabularFormat.of(ParquetOptions(partition_format=partition_format)))

    def _as_table(self, table: TabularFormat) -> TableInput:
        return TableInput(**{**self._fields(), "tabular": table})

    def _with(self: DataInputT, **changes: Any) -> DataInputT:
        return type(self)(**{**self._fields(), **changes})

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


class TableInput(DataInput, TableOperations):
    """Data that a step reads as a table; operations on it make other inputs."""

    tabular: TabularFormat

    def operations_so_far(self) -> Sequence[Operation]:
        return self.tabular.operations

    def _then(self, **operation: Any) -> TableInput:
        return self.model_copy(update={"tabular": self.tabular.then(**operation)})


def checked_input_name(name: object) -> str:
    """*name* when it may name an input; DefinitionError when it is malformed or would change the process."""
    checked = checked_name("input", name)
    if checked.upper() in RESERVED_VARIABLES or checked.upper().startswith(RESERVED_PREFIXES):
        raise DefinitionError(
            f"input name {checked!r} is not allowed: the input's path is also an environment variable of "
            "that name, and this one changes how the process itself works; choose another name"
        )
    return checked
