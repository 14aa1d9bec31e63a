"""Registered datasets and models: data by a name and a version, which is looked up when a task runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.inputs import DataInput, TabularFormat, checked_input_name
from airflow_mlpipe.model.registering import registering
from airflow_mlpipe.runtime.tables.operations import Operation, TableOperations

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlpipe.model.reference import PipelineDataReference

Version = int | Literal["latest"]
LATEST: Literal["latest"] = "latest"

# The name is a folder of the datastore, and part of an asset's URI.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_]")


class RegisteredSource(Declaration):
    """Something that is registered as *name*, in one *version* or in the latest when the task runs.

    Which version that was is pinned in the step's manifest. What counts for reuse is the content.
    """

    kind: ClassVar[Literal["dataset", "model"]]

    name: str
    version: Version = LATEST

    def __init__(self, name: str, version: Version | str = LATEST, **values: Any) -> None:
        super().__init__(name=name, version=version, **values)

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        return checked_registered_name(cls.kind, name)

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_a_number(cls, version: object) -> Version:
        return checked_version(version)

    @property
    def default_input_name(self) -> str | None:
        """The name as far as an input may have it, else None."""
        name = _UNUSUAL.sub("_", self.name)
        try:
            return checked_input_name(f"_{name}"[:64] if name[0].isdigit() else name[:64])
        except DefinitionError:
            return None

    def as_unnamed_input(self) -> DataInput:
        return DataInput(source=self)

    def as_named_input(self, name: str) -> DataInput:
        """This as the input *name*, which is its key in ``run.input_datasets``."""
        return self.as_unnamed_input().as_named_input(name)

    def as_mount(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DataInput:
        return self.as_unnamed_input().as_download(path_on_compute)

    def as_direct(self) -> DataInput:
        return self.as_unnamed_input().as_direct()


class RegisteredDataset(RegisteredSource, TableOperations):
    """A registered dataset; ``Dataset.get_by_name`` makes one.

    Whether it is files or a table says its record; *operations* are applied to the rows of a table after
    those that were registered with it. With ``identity="version"`` data that no step made counts as what it
    was when it was registered, without a look; else it is looked at as any dataset.
    """

    kind: ClassVar[Literal["dataset", "model"]] = "dataset"

    identity: Literal["version"] | None = None
    operations: tuple[Operation, ...] = ()

    # Type checkers make up an __init__ of keywords for a model that has none of its own; so below.
    def __init__(self, name: str, version: Version | str = LATEST, **values: Any) -> None:
        super().__init__(name, version, **values)

    def table(self, registered: TabularFormat) -> TabularFormat:
        """How the files become a table, when *registered* is what its record says."""
        return registered.model_copy(update={"operations": (*registered.operations, *self.operations)})

    def operations_so_far(self) -> Sequence[Operation]:
        return self.operations

    def _then(self, **operation: Any) -> RegisteredDataset:
        return self.model_copy(update={"operations": (*self.operations, operation)})


class Model(RegisteredSource):
    """A registered model as an input: the path of its file or folder (SDK v1's ``Model``)."""

    kind: ClassVar[Literal["dataset", "model"]] = "model"

    def __init__(self, name: str, version: Version | str = LATEST) -> None:
        super().__init__(name, version)

    @classmethod
    def get(cls, name: str, version: Version | str = LATEST) -> Model:
        """The same as ``Model(name, version)``."""
        return cls(name, version)

    @staticmethod
    def register(
        name: str,
        model: str | Path | PipelineDataReference,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Model:
        """Copy *model*, a file or folder, into the datastore as the next version of *name*, now.

        It is for a plain ``@task``, a script or a console where Airflow is configured; a step's script asks
        by ``run.register_model``. Returns the version; when *model* holds what the latest one does, that is
        the latest. Raises UserError when nothing is there, StoreError when the datastore fails.
        """
        said = {"description": description, "tags": tags, "properties": properties}
        return Model(name, registering().register_model(name, model, **said).version)


class OutputRegistration(Declaration):
    """As which dataset an output is registered."""

    name: str
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, name: str) -> str:
        return checked_registered_name("dataset", name)


def checked_registered_name(kind: str, name: object) -> str:
    """*name* when a dataset or model may be registered under it; DefinitionError otherwise."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise DefinitionError(
        f"{kind} name {name!r} is not valid: use 1 to 200 letters, digits, '_', '-' and '.', starting with a "
        "letter, a digit or '_'"
    )


def checked_version(version: object) -> Version:
    """*version* as a number from 1 on, or "latest"; DefinitionError for anything else."""
    if version == LATEST:
        return LATEST
    if isinstance(version, str) and version.isascii() and version.isdigit():
        version = int(version)
    if isinstance(version, int) and not isinstance(version, bool) and version >= 1:
        return version
    raise DefinitionError(f"version is {version!r}; give a number from 1 on, or 'latest'")
