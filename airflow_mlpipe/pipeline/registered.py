"""Looking up registered datasets and models: which version a step reads, and where its data lies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic

from airflow_mlpipe.errors import NotFoundError, UserError
from airflow_mlpipe.model.dataset import FileDataset, SourceDataset, TabularDataset
from airflow_mlpipe.model.inputs import DataInput, TabularFormat
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.model.registered import LATEST, RegisteredDataset, RegisteredSource, Version
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.records import Pin
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.listing import entries_of
from airflow_mlpipe.store.manifest import ManifestOutput
from airflow_mlpipe.store.registry import DatasetVersion, ModelVersion, Registry, VersionT
from airflow_mlpipe.store.remote_listing import ListedFile
from airflow_mlpipe.store.sources import Place, Source

LookAt = Callable[[SourceDataset | PipelineDataReference], Source]


@dataclass(frozen=True)
class Found(Generic[VersionT]):
    """A registered version, and the datastore that has its record."""

    version: VersionT
    datastore: Datastore

    @property
    def pin(self) -> Pin:
        """The version by name and number."""
        return Pin(self.version.kind, self.version.name, self.version.version)


def find(stores: Stores, of: type[VersionT], name: str, version: Version) -> Found[VersionT]:
    """The *version* of *name* from the first of *stores* that knows the name, the deployment's own first.

    That store answers for all versions of the name, since each counts its own. Raises NotFoundError when it
    has none such, VersionUnusable when it cannot be read or trusted, StoreError.
    """
    for datastore in stores:
        registry = Registry(datastore, of, stores.keyring)
        versions = registry.versions(name)
        if not versions:
            continue
        number = versions[-1] if version == LATEST else version
        found = registry.read(name, number) if number in versions else None
        if found is None:
            known = listing([str(known) for known in reversed(versions)])
            raise NotFoundError(f"{name} has no version {number} in {datastore.url}; it has {known}")
        return Found(found, datastore)
    kind = of.model_fields["kind"].default
    raise NotFoundError(
        f"no {kind} {name!r} is registered in {' or '.join(store.url for store in stores)}; "
        f"`airflow mlpipe {kind} list` names those that are"
    )


@dataclass(frozen=True)
class RegisteredInput:
    """A registered version as it is bound to a step.

    ``dataset`` is what can be looked at again while the step runs; None for data that is sealed, or whose
    record is believed. ``remark`` is a sentence on data that is not what was registered.
    """

    pin: Pin
    source: Source
    table: TabularFormat | None = None
    dataset: SourceDataset | None = None
    remark: str | None = None


class RegisteredInputs:
    """The registered versions in *stores* as one step sees them: what is the latest is asked once.

    *before_latest* is told of a source before its latest version is looked up.
    """

    def __init__(
        self, stores: Stores, before_latest: Callable[[RegisteredSource], object] = lambda source: None
    ) -> None:
        self._stores = stores
        self._before_latest = before_latest
        self._datasets: dict[tuple[str, Version], Found[DatasetVersion]] = {}
        self._models: dict[tuple[str, Version], Found[ModelVersion]] = {}

    def bind(self, declared: DataInput, look_at: LookAt) -> RegisteredInput:
        """The input that *declared*, whose source is registered, is; *look_at* finds data.

        Raises as :func:`find` does, UserError for files that are to be read as a table without a word on how,
        and whatever *look_at* raises.
        """
        source: RegisteredSource = declared.source
        asked = source.name, source.version
        if source.version == LATEST:
            self._before_latest(source)
        if not isinstance(source, RegisteredDataset):
            if asked not in self._models:
                self._models[asked] = find(self._stores, ModelVersion, *asked)
            return _model(self._models[asked], declared)
        if asked not in self._datasets:
            self._datasets[asked] = find(self._stores, DatasetVersion, *asked)
        found = self._datasets[asked]
        table = _table(found.version, source, declared)
        if found.version.output is not None:
            return RegisteredInput(found.pin, look_at(reference_to(found)), table)
        return _looked_at(found, source, table, look_at)


def reference_to(found: Found[DatasetVersion]) -> PipelineDataReference:
    """The reference to the output of a step that a version of a dataset is."""
    version = found.version
    output, lineage = version.output, version.lineage
    assert output is not None
    assert lineage is not None
    return PipelineDataReference(
        name=output.name,
        uri=f"{version.store or found.datastore.url}/{output.key}",
        digest=output.digest,
        kind=output.kind,
        size=output.size,
        fingerprint=lineage.fingerprint,
        producer=lineage.producer,
    )


def declared_dataset(version: DatasetVersion) -> SourceDataset:
    """What the author of a version declared of data that no step made; DefinitionError when it is no dataset
    to this version of the package."""
    declared = version.declared or {}
    if version.table is None:
        return FileDataset(**declared)
    return TabularDataset(**declared, table=TabularFormat(**version.table))


def _model(found: Found[ModelVersion], declared: DataInput) -> RegisteredInput:
    files, datastore = found.version.files, found.datastore
    listed = None
    if datastore.local_path(files.key) is None:
        listed = tuple(_listed(datastore, files))
    place = Place("", datastore.uri(files.key), listed)
    source = Source(files.kind, files.digest, (place,), files.size)
    return RegisteredInput(found.pin, source, declared.tabular)


def _listed(datastore: Datastore, files: ManifestOutput) -> Iterator[ListedFile]:
    """The files of a model, each with the digest that its copy must have."""
    if files.kind == "file":
        yield ListedFile("", files.size, None, digest=files.digest)
    for entry in entries_of(datastore, files):
        yield ListedFile(entry.path, entry.size, None, digest=entry.digest, executable=entry.executable)


def _table(version: DatasetVersion, source: RegisteredDataset, declared: DataInput) -> TabularFormat | None:
    if declared.tabular is not None:
        return declared.tabular
    if version.table is not None:
        return source.table(TabularFormat(**version.table))
    if source.operations:
        raise UserError(
            f"{version} was registered as files, and so has no rows and columns; say how to read it with "
            f"parse_delimited_files() or parse_parquet_files(), or register it as a table"
        )
    return None


def _looked_at(
    found: Found[DatasetVersion], source: RegisteredDataset, table: TabularFormat | None, look_at: LookAt
) -> RegisteredInput:
    """Data that no step made: as it is now, or, if its author says so, as its record has it."""
    version, dataset = found.version, declared_dataset(found.version)
    if source.identity == "version":
        there = look_at(dataset.model_copy(update={"identity": "definition"}))
        # Not the digest of data that was looked at, so that outputs of the one never stand for the other.
        believed = hashlib.sha256(json.dumps(["registered", version.digest]).encode()).hexdigest()
        return RegisteredInput(found.pin, dataclasses.replace(there, digest=believed), table)
    there = look_at(dataset)
    remark = None if there.digest == version.digest else f"{version} has changed since it was registered"
    return RegisteredInput(found.pin, there, table, dataset, remark)
