"""How a step takes in data: under which name, and by which way it reaches the script."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration, checked_name

AccessMode = Literal["mount", "download", "direct"]

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

    ``options`` of ``delimited``: separator, header, encoding. ``operations`` are applied in order when
    the table is read, each ``{"keep_columns": [...]}``, ``{"drop_columns": [...]}`` or
    ``{"random_split": {"percentage", "seed", "part"}}``.
    """

    format: Literal["delimited", "parquet"]
    options: dict[str, Any] = Field(default_factory=dict)
    operations: tuple[dict[str, Any], ...] = ()

    def then(self, **operation: Any) -> TabularFormat:
        return self.model_copy(update={"operations": (*self.operations, operation)})


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
        self, separator: str = ",", header: bool = True, encoding: str = "utf8"
    ) -> DataInput:
        """The input as a table, read from delimited text files."""
        options = {"separator": separator, "header": header, "encoding": encoding}
        return self._with(tabular=TabularFormat(format="delimited", options=options))

    def parse_parquet_files(self) -> DataInput:
        """The input as a table, read from Parquet files."""
        return self._with(tabular=TabularFormat(format="parquet"))

    def _with(self, **changes: Any) -> DataInput:
        return DataInput(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def checked_input_name(name: object) -> str:
    """*name* when it may name an input; DefinitionError when it is malformed or would change the process."""
    checked = checked_name("input", name)
    if checked.upper() in RESERVED_VARIABLES or checked.upper().startswith(RESERVED_PREFIXES):
        raise DefinitionError(
            f"input name {checked!r} is not allowed: the input's path is also an environment variable of "
            "that name, and this one changes how the process itself works; choose another name"
        )
    return checked
