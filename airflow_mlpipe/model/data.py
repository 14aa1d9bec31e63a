"""Intermediate data: what a step declares that it will write."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration, checked_name
from airflow_mlpipe.model.inputs import DataInput

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

    def as_input(self, name: str | None = None) -> DataInput:
        """This output as an input of another step; the edge between the two follows from it."""
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

    def parse_delimited_files(self, separator: str = ",", header: bool = True) -> DataInput:
        """This output as a tabular input named after it, read from delimited text files."""
        return self.as_input().parse_delimited_files(separator, header)

    def parse_parquet_files(self) -> DataInput:
        """This output as a tabular input named after it, read from Parquet files."""
        return self.as_input().parse_parquet_files()


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
    copied as well, relative to the datastore or a URL, with the templates ``{run-id}`` and
    ``{output-name}``.
    """

    is_folder: ClassVar[bool] = True

    destination: str | None = None

    def __init__(self, name: str = "output", destination: str | None = None, **values: Any) -> None:
        super().__init__(name=name, destination=destination, **values)

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

    def as_mount(self) -> OutputFileDatasetConfig:
        """The script writes where the output is kept, as far as the datastore allows; the default."""
        return self

    def as_upload(self) -> OutputFileDatasetConfig:
        """Another word for :meth:`as_mount`: either way the output is in the datastore afterwards."""
        return self
