"""Registered datasets and models: names whose versions count up from 1, each written once.

A version of a dataset says where its data lies; a version of a model has files of its own in the datastore.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import (
    RegisteredKind,
    registered_key,
    registered_prefix,
    registration_mark_key,
)
from airflow_mlpipe.store.manifest import (
    Digest,
    JsonObject,
    ManifestOutput,
    ManifestPin,
    RegisteredName,
    Size,
    canonical,
    first_problem,
)
from airflow_mlpipe.store.signature import NO_KEYS, Keyring, Signature

log = logging.getLogger(__name__)

HIGHEST = 99_999_999

# A lost race is somebody else's new version, so that nobody loses so many but on a store that lies.
_TRIES = 200
_FILE = re.compile(r"(\d{8})\.json")


def new_version_id() -> str:
    """An id that no other version has."""
    return uuid.uuid4().hex


class VersionUnusable(DocumentError):
    """A registered version cannot be read or trusted; the message names its key and says why."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Lineage(_Document):
    """The step that made the data: its fingerprint, the task instance, and the versions that were its inputs,
    by the names of these."""

    fingerprint: Digest
    producer: ProducerReference
    inputs: dict[str, ManifestPin] = {}


class RegisteredVersion(_Document):
    """One version of a name.

    *id* tells it from one that somebody else registers at the same moment. *digest* identifies the content,
    *size* is in bytes. *registered_by* is a task instance or a person; *created_at* is in seconds since the
    epoch. *lineage* is None for what no step made. *signature* is None when the one who registered has no
    signing key.
    """

    schema_version: Literal[1] = 1
    kind: RegisteredKind
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] = Field(default_factory=new_version_id)
    name: RegisteredName
    version: Annotated[int, Field(ge=1, le=HIGHEST)] = 1
    digest: Digest
    size: Size
    description: str = ""
    tags: dict[str, str] = {}
    created_at: float = Field(default_factory=time.time)
    registered_by: str
    lineage: Lineage | None = None
    signature: Signature | None = None

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    def to_bytes(self) -> bytes:
        """The document as it is stored."""
        return canonical(self.model_dump(mode="json"))

    def signed_bytes(self) -> bytes:
        """What a signature vouches for: the document without it."""
        return canonical(self.model_dump(mode="json", exclude={"signature"}))


class _Mark(_Document):
    """Which version something that a step made stands in."""

    schema_version: Literal[1]
    version: int


class DatasetVersion(RegisteredVersion):
    """A version of a dataset.

    *declared* is what its author declared of data that no step made, as ``SourceDataset`` has it; *output* is
    what a step made, in the datastore at the URL *store*, "" for the one that holds this record. One of the
    two is there. *table* says how the files become a table, None when they are files.
    """

    kind: Literal["dataset"] = "dataset"
    declared: JsonObject | None = None
    output: ManifestOutput | None = None
    store: str = ""
    table: JsonObject | None = None

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> DatasetVersion:
        if (self.declared is None) == (self.output is None):
            raise ValueError("it is either data that was declared, or the output of a step")
        if self.output is not None and self.lineage is None:
            raise ValueError("it is the output of a step, and does not say of which")
        return self

    def is_like(self, other: DatasetVersion) -> bool:
        """Whether a reader gets the same from both. Where the output of a step lies makes no difference."""
        mine, its = ((it.digest, it.declared, it.table) for it in (self, other))
        return mine == its


class ModelVersion(RegisteredVersion):
    """A version of a model. *files* are its own file or folder, in the datastore that holds this record."""

    kind: Literal["model"] = "model"
    files: ManifestOutput
    properties: dict[str, str] = {}


VersionT = TypeVar("VersionT", bound=RegisteredVersion)


class Registry(Generic[VersionT]):
    """The datasets or models, *of* which class their versions are, that are registered in *datastore*.

    With keys in *keyring*, versions are signed by it, and only such are read. All methods raise StoreError
    when the store fails, and for a name under which nothing can be registered.
    """

    def __init__(self, datastore: Datastore, of: type[VersionT], keyring: Keyring = NO_KEYS) -> None:
        self.datastore = datastore
        self._of: type[VersionT] = of
        self._kind: RegisteredKind = of.model_fields["kind"].default
        self._keyring = keyring

    def names(self) -> dict[str, list[int]]:
        """All names, each with its versions in order."""
        found: dict[str, list[int]] = {}
        prefix = registered_prefix(self._kind)
        for file in self.datastore.files(prefix):
            name, _, leaf = file.key.removeprefix(f"{prefix}/").partition("/")
            if (match := _FILE.fullmatch(leaf)) is not None:
                found.setdefault(name, []).append(int(match[1]))
        return found

    def versions(self, name: str) -> list[int]:
        """The versions of *name* in order; none when nothing was registered under it."""
        prefix = registered_prefix(self._kind, name)
        leaves = (file.key.removeprefix(f"{prefix}/") for file in self.datastore.files(prefix))
        return [int(match[1]) for leaf in leaves if (match := _FILE.fullmatch(leaf)) is not None]

    def read(self, name: str, version: int) -> VersionT | None:
        """One version, None when there is none; VersionUnusable when it cannot be read or trusted."""
        key = registered_key(self._kind, name, version)
        data = self.datastore.read(key)
        return None if data is None else self._parse(data, key, name, version)

    def latest(self, name: str) -> VersionT | None:
        """The newest version, None when there is none; VersionUnusable as above, never an older one."""
        versions = self.versions(name)
        return self.read(name, versions[-1]) if versions else None

    def standing_for(self, name: str, what: str) -> VersionT | None:
        """The version of *name* that was said to stand for *what*, if it can still be used."""
        data = self.datastore.read(registration_mark_key(self._kind, name, what))
        try:
            return None if data is None else self.read(name, _Mark.model_validate_json(data).version)
        except (ValidationError, VersionUnusable) as error:
            log.warning("%s %s: %s", self._kind, name, error)
            return None

    def let_stand_for(self, what: str, version: VersionT) -> None:
        """Remember that *version* stands for *what*, a text that names something a step made."""
        mark = _Mark(schema_version=1, version=version.version)
        key = registration_mark_key(self._kind, version.name, what)
        self.datastore.write(key, mark.model_dump_json().encode() + b"\n")

    def usable_latest(self, name: str) -> VersionT | None:
        """The newest version if there is one that can be read and trusted; else the log says why not."""
        return self._newest(name)[1]

    def register(self, draft: VersionT, is_current: Callable[[VersionT], bool]) -> tuple[VersionT, bool]:
        """Make *draft* the next version of its name, unless the newest one *is_current*.

        Returns the version that now is the newest, and whether it is new. Of several who register at once
        each gets a version of its own, or one that is current by then. A newest version that cannot be read
        or trusted is not current.
        """
        for _ in range(_TRIES):
            number, newest = self._newest(draft.name)
            if newest is not None and is_current(newest):
                return newest, False
            if number == HIGHEST:
                raise StoreError(f"{self._kind} {draft.name} has {HIGHEST} versions, which is the highest")
            version = draft.model_copy(update={"version": number + 1})
            signature = self._keyring.sign(version.signed_bytes()) if self._keyring.key_ids else None
            version = version.model_copy(update={"signature": signature})
            key = registered_key(self._kind, version.name, version.version)
            if self.datastore.create(key, version.to_bytes()):
                return version, True
        raise StoreError(
            f"{self._kind} {draft.name} cannot be registered: its next version is taken each time; check "
            f"that {self.datastore.url} lists what it holds"
        )

    def _newest(self, name: str) -> tuple[int, VersionT | None]:
        """The number of the newest version, 0 for none, and the version if it can be used."""
        versions = self.versions(name)
        number = versions[-1] if versions else 0
        try:
            return number, self.read(name, number) if number else None
        except VersionUnusable as error:
            log.warning("%s; it is passed over, and a new version registered", error)
            return number, None

    def _parse(self, data: bytes, key: str, name: str, version: int) -> VersionT:
        what = f"{self._kind} {name} version {version} ({self.datastore.url}/{key}) cannot be used"
        try:
            found = self._of.model_validate_json(data)
        except ValidationError as error:
            raise VersionUnusable(f"{what}: {first_problem(error)}") from error
        except StoreError as error:
            raise VersionUnusable(f"{what}: {error}") from error
        if (found.name, found.version) != (name, version):
            raise VersionUnusable(f"{what}: it is that of {found}")
        if (doubt := self._keyring.doubt(found.signed_bytes(), found.signature)) is not None:
            raise VersionUnusable(f"{what}: {doubt}")
        return found
