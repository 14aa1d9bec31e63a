"""References: what travels between tasks in place of data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from airflow_mlpipe.access import filesystem
from airflow_mlpipe.errors import StoreError

ContentKind = Literal["file", "directory", "missing"]


class ProducerReference(BaseModel):
    """The task instance whose run made some data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"{self.dag_id}/{self.run_id}/{self.task_id}{index}"


class PipelineDataReference(BaseModel):
    """Where an output lies and what it holds; this is what XCom carries, never the data.

    ``digest`` is the SHA-256 of a file's bytes or the tree digest of a directory; ``size`` is in bytes.
    ``kind`` is ``missing`` for an output that the script left unwritten. ``sealed`` is False for data
    of a run that was told not to store its results. ``inside`` is the path of one file inside a folder
    output, which the other fields are then of; "" when it is all of the output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    uri: str
    digest: str
    kind: ContentKind
    size: int
    fingerprint: str
    producer: ProducerReference
    sealed: bool = True
    inside: str = ""

    @field_validator("inside")
    @classmethod
    def _stays_inside(cls, inside: str) -> str:
        if inside and not _is_inside(inside):
            raise ValueError(f"{inside!r} is not a path inside an output")
        return inside

    @model_validator(mode="after")
    def _uri_is_of_the_file(self) -> PipelineDataReference:
        if self.inside and not self.uri.endswith(f"/{self.inside}"):
            raise ValueError(f"{self.uri!r} is not where {self.inside!r} of {self.name!r} lies")
        return self

    def __str__(self) -> str:
        return self.uri

    @property
    def default_input_name(self) -> str:
        return self.name

    @property
    def output_uri(self) -> str:
        """The URL of the output that this is, or is a file of."""
        return self.uri.removesuffix(f"/{self.inside}") if self.inside else self.uri

    def file(self, inside: str, digest: str, size: int) -> PipelineDataReference:
        """The reference to the file *inside* this folder, with the SHA-256 and the bytes that it has."""
        found = {
            "uri": f"{self.uri}/{inside}",
            "digest": digest,
            "kind": "file",
            "size": size,
            "inside": inside,
        }
        return PipelineDataReference.model_validate({**self.model_dump(), **found})

    def path(self) -> Path:
        """The data as a local path: in place when it is local, else downloaded to a temporary folder.

        Raises StoreError when it is not there.
        """
        if self.uri.startswith("file://"):
            local = Path(self.uri.removeprefix("file://"))
            if not local.exists():
                raise StoreError(f"{self.name} of {self.producer} is not at {self.uri} any more")
            return local
        opened, remote = filesystem(self.uri)
        folder = Path(tempfile.mkdtemp(prefix="mlpipe-"))
        target = folder / (self.inside or self.name).rpartition("/")[2]
        try:
            opened.get(remote, str(target), recursive=self.kind == "directory")
        except Exception as error:
            raise StoreError(
                f"{self.name} of {self.producer} cannot be read from {self.uri}: {error}"
            ) from error
        return target

    def load(self, wanted: Any = Any) -> Any:
        """The value that a step's function returned, as the type *wanted* or as what it was.

        Raises StoreError when it is not there or is no such value but files, UserError when it cannot be read
        as *wanted* or needs a library that is not installed, DocumentError when it is damaged.
        """
        from airflow_mlpipe.runtime.artifacts.artifact import is_artifact, read_artifact

        folder = self.path()
        if not is_artifact(folder):
            raise StoreError(f"{self.name} of {self.producer} is files, not a value; use path() or open()")
        return read_artifact(folder, wanted)

    def open(self, inside: str = "", mode: str = "rb") -> IO[Any]:
        """Open the file, or the file *inside* a directory, for reading."""
        if "r" not in mode or "+" in mode:
            raise StoreError(f"{self.name} is sealed: it can be opened for reading, not with mode {mode!r}")
        if inside and not _is_inside(inside):
            raise StoreError(f"{inside!r} is not a path inside {self.name}")
        opened, remote = filesystem(self.uri)
        stream: IO[Any] = opened.open(f"{remote}/{inside}" if inside else remote, mode)
        return stream


def _is_inside(path: str) -> bool:
    """Whether *path* stays in the folder that it is relative to."""
    return not path.startswith("/") and ".." not in path.split("/")
