"""Intermediate data: what a step declares that it will write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.datastore import Address, address_of
from airflow_mlpipe.model.declaration import Declaration, checked_name
from airflow_mlpipe.model.inputs import DataInput, TableInput, TabularFormat
from airflow_mlpipe.model.registered import OutputRegistration

if TYPE_CHECKING:
    from typing_extensions import Self

# Keys of a step's return value that hold something other than an output.
RESERVED_NAMES = frozenset({"metrics", "return_value"})


class StepOutput(Declaration):
    """One output of a step. Two outputs are the same only when they are the same object.

    Two steps may each declare a ``PipelineData("model")`` of their own; the object, not the name, says
    which of them a third step reads.
    """

    is_folder: ClassVar[bool] = False
    """Whether the output is a folder that exists when the script starts."""

    name: str
    registration: OutputRegistration | None = None
    table: TabularFormat | None = None
    asset: Any = None

    def __init__(self, name: str, **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise DefinitionError(
                f"output name {name!r} is taken: a step's return value keeps something else under it; "
                f"use for example {name + '_data'!r}"
            )
        return checked_name("output", name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> StepOutput:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> StepOutput:
        # Airflow copies operators; a copied output would no longer be the one that was declared.
        return self

    @property
    def default_input_name(self) -> str:
        return self.name

    def register_on_complete(
        self, name: str, description: str = "", tags: Mapping[str, str] | None = None
    ) -> Self:
        """This output as one that is registered as the next version of the dataset *name*.

        Use what is returned in its place. It is registered when the step has succeeded, and when it is
        reused; what the latest version holds already makes no new one.
        """
        registration = OutputRegistration(name=name, description=description, tags=dict(tags or {}))
        return self._with(registration=registration)

    def as_asset(self, asset: Any) -> Self:
        """This output as one that *asset*, an Asset of Airflow or the name of one, stands for.

        Use what is returned in its place. The asset is among the step's outlets by itself, and has an event
        whenever the step ran; its extra has ``output``, ``digest``, ``uri``, ``fingerprint``, ``version``.
        """
        return self._with(asset=asset)

    def _with(self, **changes: Any) -> Self:
        """Another output that differs by *changes*."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return cast("Self", type(self).model_construct(**{**fields, **changes}))

    def as_input(self, name: str | None = None) -> DataInput:
        """This output as an input of another step; the edge between the two follows from it."""
        if self.table is not None:
            return TableInput(source=self, name=name, tabular=self.table)
        return DataInput(source=self, name=name)

    def as_dataset(self) -> DataInput:
        """Another word for :meth:`as_input`, as v1 has it."""
        return self.as_input()

    def as_named_input(self, name: str) -> DataInput:
        """This output as an input of another step, called *name* there."""
        return self.as_input(name)

    def as_download(self, path_on_compute: str | None = None) -> DataInput:
        """This output as an input that is copied into the other step's working directory."""
        return self.as_input().as_download(path_on_compute)

    def as_direct(self) -> DataInput:
        """This output as an input of which the script gets the URL."""
        return self.as_input().as_direct()

    def parse_delimited_files(
        self,
        separator: str = ",",
        header: object = True,
        encoding: str = "utf8",
        *,
        set_column_types: Mapping[str, str] | None = None,
        partition_format: str | None = None,
    ) -> TableInput:
        """This output as a tabular input named after it, read as ``from_delimited_files`` does."""
        return self.as_input().parse_delimited_files(
            separator,
            header,
            encoding,
            set_column_types=set_column_types,
            partition_format=partition_format,
        )

    def parse_parquet_files(self, *, partition_format: str | None = None) -> TableInput:
        """This output as a tabular input named after it, read from Parquet files."""
        return self.as_input().parse_parquet_files(partition_format=partition_format)


class PipelineData(StepOutput):
    """Intermediate data between two steps (SDK v1's ``PipelineData``).

    In a step's ``arguments`` it is the path at which the script writes it, a file or a folder. Nothing
    is created there beforehand. A script may leave it unwritten; then the step succeeds, and its
    outputs are not kept for reuse.
    """

    # Type checkers make up an __init__ of keywords for a model that has none of its own.
    def __init__(self, name: str) -> None:
        super().__init__(name)

    def as_mount(self, path_on_compute: str | None = None) -> DataInput:
        """This output as an input that the script reads in place."""
        return self.as_input().as_mount(path_on_compute)


class OutputFileDatasetConfig(StepOutput):
    """A folder that a step fills (SDK v1's ``OutputFileDatasetConfig``).

    The folder exists when the script starts. ``destination`` is a folder to which the finished output is
    copied as well: relative to the deployment's datastore, a URL, or a place in another datastore, with the
    templates ``{run-id}`` and ``{output-name}``.
    """

    is_folder: ClassVar[bool] = True

    destination: str | None = None

    def __init__(self, name: str = "output", destination: Address | None = None, **values: Any) -> None:
        place = None if destination is None else address_of(destination)
        super().__init__(name=name, destination=place, **values)

    @field_validator("destination")
    @classmethod
    def _templates_are_known(cls, destination: str | None) -> str | None:
        if destination is None:
            return None
        bare = destination.replace("{run-id}", "").replace("{output-name}", "")
        if "{" in bare or "}" in bare:
            raise ValueError("a destination knows the templates {run-id} and {output-name}, no others")
        if ".." in bare.split("/"):
            raise ValueError("a destination may not climb out of its folder with '..'")
        return destination

    def read_delimited_files(
        self, separator: str = ",", header: object = True, encoding: str = "utf8"
    ) -> OutputFileDatasetConfig:
        """This output as a table of delimited text files, for whoever reads it and when it is registered.

        Use what is returned in its place.
        """
        return self._with(table=self.parse_delimited_files(separator, header, encoding).tabular)

    def read_parquet_files(self) -> OutputFileDatasetConfig:
        """The same of Parquet files."""
        return self._with(table=self.parse_parquet_files().tabular)

    def as_mount(self) -> OutputFileDatasetConfig:
        """The script writes where the output is kept, as far as the datastore allows; the default."""
        return self

    def as_upload(self) -> OutputFileDatasetConfig:
        """Another word for :meth:`as_mount`: either way the output is in the datastore afterwards."""
        return self
