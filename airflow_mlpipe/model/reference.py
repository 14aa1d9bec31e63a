"""References: what travels between tasks in place of data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict

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
    of a run that was told not to store its results.
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

    def __str__(self) -> str:
        return self.uri

    @property
    def default_input_name(self) -> str:
        return self.name

    def path(self) -> Path:
        """The data as a local path: in place when it is local, else downloaded to a temporary folder.

        Raises StoreError when it is not there.
        """
        if self.uri.startswith("file://"):
            local = Path(self.uri.removeprefix("file://"))
            if not local.exists():
                raise StoreError(f"{self.name} of {self.producer} is not at {self.uri} any more")
            return local
        filesystem, remote = _filesystem(self.uri)
        folder = Path(tempfile.mkdtemp(prefix="mlpipe-"))
        target = folder / self.name
        try:
            filesystem.get(remote, str(target), recursive=self.kind == "directory")
        except Exception as error:
            raise StoreError(
                f"{self.name} of {self.producer} cannot be read from {self.uri}: {error}"
            ) from error
        return target

    def open(self, inside: str = "", mode: str = "rb") -> IO[Any]:
        """Open the file, or the file *inside* a directory, for reading."""
        if "r" not in mode or "+" in mode:
            raise StoreError(f"{self.name} is sealed: it can be opened for reading, not with mode {mode!r}")
        if ".." in inside.split("/") or inside.startswith("/"):
            raise StoreError(f"{inside!r} is not a path inside {self.name}")
        filesystem, remote = _filesystem(self.uri)
        stream: IO[Any] = filesystem.open(f"{remote}/{inside}" if inside else remote, mode)
        return stream


def _filesystem(uri: str) -> tuple[Any, str]:
    import fsspec.core

    filesystem, path = fsspec.core.url_to_fs(uri)
    return filesystem, path
