"""The manifest: the one document that makes the outputs of a step real."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from airflow_mlpipe.errors import DocumentError, MLPipeError, StoreError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.layout import (
    RegisteredKind,
    check_key,
    check_output_name,
    check_registered_name,
    manifest_key,
)
from airflow_mlpipe.store.signature import NO_KEYS, Keyring, Signature

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, AfterValidator(check_key)]
RegisteredName = Annotated[str, AfterValidator(check_registered_name)]
OutputName = Annotated[str, AfterValidator(check_output_name)]
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


class ManifestListing(_Document):
    """The document that lists the *files* of an output, by number too many for the manifest."""

    key: Key
    sha256: Digest
    files: Size


class ManifestOutput(_Document):
    """One output: *key* is its file or folder in the store.

    The files of a folder are *entries*, sorted by path, or lie in a *listing* when they are many; read them
    by :func:`~airflow_mlpipe.store.listing.entries_of`.
    """

    name: OutputName
    kind: Literal["file", "directory"]
    key: Key
    digest: Digest
    size: Size
    entries: tuple[ManifestEntry, ...] = ()
    listing: ManifestListing | None = None

    @model_validator(mode="after")
    def _check_files(self) -> ManifestOutput:
        paths = [entry.path for entry in self.entries]
        if any(path >= following for path, following in itertools.pairwise(paths)):
            raise ValueError("the entries are not sorted by path, or hold one twice")
        if self.kind == "file" and (paths or self.listing is not None):
            raise ValueError("a file has neither entries nor a listing")
        if paths and self.listing is not None:
            raise ValueError("the files are in a listing as well as among the entries")
        return self

    @classmethod
    def of(
        cls,
        name: str,
        key: str,
        content: Content,
        entries: tuple[ManifestEntry, ...] = (),
        listing: ManifestListing | None = None,
    ) -> ManifestOutput:
        """The output *name* at *key* with *content*; StoreError when there is none, or a name is no key."""
        if content.kind == "missing":
            raise StoreError(f"output {name!r} was not written; let the step write to the path it is given")
        return cls(
            name=name,
            kind=content.kind,
            key=key,
            digest=content.digest,
            size=content.size,
            entries=entries,
            listing=listing,
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

    @property
    def instance(self) -> ProducerReference:
        """The task instance."""
        return ProducerReference(
            dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index
        )

    @property
    def step(self) -> str:
        """The task instance as ``dag/run/task`` or ``dag/run/task[index]``."""
        return str(self.instance)


class ManifestReturned(_Document):
    """What the function of a step returned; see :class:`~airflow_mlpipe.records.ReturnedValues`.

    The *artifacts* are outputs of the manifest. The values stand here and nowhere else, so *digest* is what
    they are compared with, as an output's is.
    """

    values: JsonObject
    artifacts: tuple[OutputName, ...]
    unrolled: bool
    digest: Digest

    @classmethod
    def of(cls, values: dict[str, Any], artifacts: Iterable[str], *, unrolled: bool) -> ManifestReturned:
        """The same with its digest."""
        returned: dict[str, Any] = {"values": values, "artifacts": tuple(artifacts), "unrolled": unrolled}
        return cls(**returned, digest=_sha256(returned))

    @model_validator(mode="after")
    def _check_digest(self) -> ManifestReturned:
        if self.digest != _sha256(self.model_dump(mode="json", exclude={"digest"})):
            raise ValueError("the returned values are not those of their digest")
        return self


class ManifestPin(_Document):
    """The version of a registered dataset or model that an input was; as ``records.Pin``."""

    kind: RegisteredKind
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class ManifestCompute(_Document):
    """The compute target that the step ran on: its *type*, such as ``kubernetes``, and its name, *target*.

    *cost_per_hour* is what an hour cost there, in its author's currency, None when nobody said.
    """

    target: str
    type: str
    cost_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class ManifestRegistration(_Document):
    """What the script asked to register, and the file or folder of the attempt that it is.

    *output* is the output in which that lies, None for what is kept with the run besides.
    """

    kind: RegisteredKind
    name: RegisteredName
    output: OutputName | None
    data: ManifestOutput
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}


class Manifest(_Document):
    """What was made, from what, by whom and when. Times are seconds since the epoch.

    *results* are the small JSON results of the step: its metrics. *returned* is what its function returned,
    None for a step that is no function. *pins* are the inputs that were registered datasets and models, by
    name; *registrations* are what the script asked to register. *compute* is where it ran, None for the
    worker's machine when that has no price. *snapshot* is the digest of the archived code, None when there is
    none. *signature* is None when the one who sealed has no signing key.
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
    properties: dict[str, str] = {}
    returned: ManifestReturned | None = None
    pins: dict[str, ManifestPin] = {}
    registrations: tuple[ManifestRegistration, ...] = ()
    compute: ManifestCompute | None = None
    signature: Signature | None = None

    @model_validator(mode="after")
    def _check_names(self) -> Manifest:
        if misnamed := [name for name, output in self.outputs.items() if name != output.name]:
            raise ValueError(f"output {misnamed[0]!r} has another name inside")
        if self.returned is not None and (lost := set(self.returned.artifacts) - set(self.outputs)):
            raise ValueError(f"the returned artifact {min(lost)!r} is not among the outputs")
        return self

    @property
    def seconds(self) -> float:
        """How long the step ran."""
        return self.finished_at - self.started_at

    @property
    def cost(self) -> float | None:
        """What that cost at the price of then; None when the compute target had none."""
        price = None if self.compute is None else self.compute.cost_per_hour
        return None if price is None else self.seconds / 3600 * price

    def signed(self, keyring: Keyring) -> Manifest:
        """The manifest with a signature by *keyring*; itself when that has no keys."""
        signature = keyring.sign(self._signed_bytes()) if keyring.key_ids else None
        return self if signature is None else self.model_copy(update={"signature": signature})

    def doubt(self, keyring: Keyring) -> str | None:
        """Why it may not be the work of a holder of *keyring*, in a few words; None when all is well."""
        return keyring.doubt(self._signed_bytes(), self.signature) if keyring.key_ids else None

    def to_bytes(self) -> bytes:
        """The document as it is stored; equal manifests give equal bytes."""
        return canonical(self._document())

    def _signed_bytes(self) -> bytes:
        """What a signature vouches for: the document without it."""
        document = self._document()
        del document["signature"]
        return canonical(document)

    def _document(self) -> dict[str, Any]:
        document = self.model_dump(mode="json")
        # What is not there is not written: so it was, and was signed, before there was such a thing.
        for name in ("properties", "returned", "pins", "registrations", "compute"):
            if not document[name]:
                del document[name]
        return document


def read_manifest(datastore: Datastore, fingerprint: str, keyring: Keyring = NO_KEYS) -> Manifest:
    """The manifest of *fingerprint*, signed by *keyring* if that has keys.

    Raises ManifestMissing when there is none, ManifestUnusable when there is one that cannot be trusted,
    StoreError when the store cannot be read.
    """
    data = datastore.read(manifest_key(fingerprint))
    if data is None:
        raise ManifestMissing(f"nothing is sealed under fingerprint {fingerprint}")
    return parse_manifest(data, fingerprint, keyring)


def parse_manifest(data: bytes, fingerprint: str, keyring: Keyring = NO_KEYS) -> Manifest:
    """The manifest in *data*, if it is one of *fingerprint* and, should *keyring* have keys, signed by it.

    Raises ManifestUnusable otherwise.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestUnusable(
            f"the manifest of {fingerprint} cannot be used: {first_problem(error)}"
        ) from error
    except StoreError as error:
        raise ManifestUnusable(f"the manifest of {fingerprint} cannot be used: {error}") from error
    if manifest.fingerprint != fingerprint:
        raise ManifestUnusable(
            f"the manifest of {fingerprint} cannot be used: it is that of {manifest.fingerprint}"
        )
    if (doubt := manifest.doubt(keyring)) is not None:
        raise ManifestUnusable(f"the manifest of {fingerprint} cannot be used: {doubt}")
    return manifest


def canonical(document: dict[str, Any]) -> bytes:
    """A document as it is stored, and signed; equal documents give equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _sha256(document: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(document)).hexdigest()


def first_problem(error: ValidationError) -> str:
    """What is wrong with a stored document, in a few words."""
    problems = error.errors(include_url=False, include_context=False)
    # Of a later schema the version is the problem, not the fields that came with it.
    problem = next((p for p in problems if p["loc"] == ("schema_version",)), problems[0])
    if problem["loc"] == ("schema_version",):
        return f"its schema_version is {problem['input']!r}, and this version of airflow_mlpipe reads 1"
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]
