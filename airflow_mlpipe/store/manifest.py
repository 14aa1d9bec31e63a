"""The manifest: the one document that makes the outputs of a step real."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from airflow_mlpipe.errors import DocumentError, MLPipeError, StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.layout import check_key, manifest_key

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, AfterValidator(check_key)]
Size = Annotated[int, Field(ge=0)]
JsonObject = Annotated[dict[str, Any], AfterValidator(TypeAdapter(dict[str, JsonValue]).validate_python)]


class ManifestMissing(MLPipeError):
    """Nothing is sealed under a fingerprint."""


class ManifestUnusable(DocumentError):
    """Something is sealed under a fingerprint, but it cannot be read; the message says why."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")


class ManifestEntry(_Document):
    """One file of a folder output; *path* is relative to it."""

    path: Key
    size: Size
    digest: Digest
    executable: bool


class ManifestOutput(_Document):
    """One output: *key* is its file or folder in the store, *entries* the files of a folder."""

    name: str
    kind: Literal["file", "directory"]
    key: Key
    digest: Digest
    size: Size
    entries: tuple[ManifestEntry, ...] = ()

    @classmethod
    def of(cls, name: str, key: str, content: Content) -> ManifestOutput:
        """The output *name* at *key* with *content*; StoreError when there is none, or a name is no key."""
        if content.kind == "missing":
            raise StoreError(f"output {name!r} was not written; let the step write to the path it is given")
        entries = tuple(
            ManifestEntry(path=entry.path, size=entry.size, digest=entry.digest, executable=entry.executable)
            for entry in content.entries
        )
        return cls(
            name=name, kind=content.kind, key=key, digest=content.digest, size=content.size, entries=entries
        )


class Producer(_Document):
    """The task instance that made the outputs. *map_index* is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    attempt: str
    experiment: str
    host: str


class Manifest(_Document):
    """What was made, from what, by whom and when. Times are seconds since the epoch.

    *results* are the small JSON results of the step: its metrics. *snapshot* is the digest of the archived
    code, None when there is none.
    """

    schema_version: Literal[1]
    fingerprint: Digest
    recipe: JsonObject
    outputs: dict[str, ManifestOutput]
    results: JsonObject
    parent_metrics: JsonObject
    tags: dict[str, str]
    producer: Producer
    started_at: float
    finished_at: float
    sealed_at: float
    snapshot: Digest | None
    provider_version: str

    @property
    def seconds(self) -> float:
        """How long the step ran."""
        return self.finished_at - self.started_at

    def to_bytes(self) -> bytes:
        """The document as it is stored; equal manifests give equal bytes."""
        return (
            json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode() + b"\n"
        )


def read_manifest(datastore: Datastore, fingerprint: str) -> Manifest:
    """The manifest of *fingerprint*.

    Raises ManifestMissing when there is none, ManifestUnusable when there is one that cannot be trusted,
    StoreError when the store cannot be read.
    """
    data = datastore.read(manifest_key(fingerprint))
    if data is None:
        raise ManifestMissing(f"nothing is sealed under fingerprint {fingerprint}")
    return parse_manifest(data, fingerprint)


def parse_manifest(data: bytes, fingerprint: str) -> Manifest:
    """The manifest in *data*, if it is one of *fingerprint*; ManifestUnusable otherwise."""
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestUnusable(
            f"the manifest of {fingerprint} cannot be used: {_first_problem(error)}"
        ) from error
    except StoreError as error:
        raise ManifestUnusable(f"the manifest of {fingerprint} cannot be used: {error}") from error
    if manifest.fingerprint != fingerprint:
        raise ManifestUnusable(
            f"the manifest of {fingerprint} cannot be used: it is that of {manifest.fingerprint}"
        )
    return manifest


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # Of a later schema the version is the problem, not the fields that came with it.
    problem = next((p for p in problems if p["loc"] == ("schema_version",)), problems[0])
    if problem["loc"] == ("schema_version",):
        return f"its schema_version is {problem['input']!r}, and this version of airflow_mlpipe reads 1"
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]
