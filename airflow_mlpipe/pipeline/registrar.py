"""Who registers: makes versions of what it is given, unless the latest ones hold the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import (
    RegisteredKind,
    model_files_key,
    model_files_prefix,
    model_listing_key,
)
from airflow_mlpipe.store.listing import describe_stored
from airflow_mlpipe.store.manifest import ManifestOutput
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.registry import DatasetVersion, Lineage, ModelVersion, Registry, new_version_id
from airflow_mlpipe.store.sealing import protect
from airflow_mlpipe.store.sources import Source
from airflow_mlpipe.store.transfer.copying import copy_tree
from airflow_mlpipe.store.verification import Level, damages_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """What is said of a version by whoever registers it. Datasets have no ``properties``."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """The version that now stands for something that was to be registered.

    ``is_new`` is False when the latest version held the same already. ``uri`` is where the data lies, the
    first place of several. ``output`` is the step's output that it is, or is part of; None for anything else.
    """

    kind: RegisteredKind
    name: str
    version: int
    digest: str
    uri: str
    is_new: bool
    output: str | None = None

    def sentence(self) -> str:
        """What happened, for the log."""
        if self.is_new:
            return f"registered {self.kind} {self.name} version {self.version}"
        return f"{self.kind} {self.name} version {self.version} holds the same already"


@dataclass(frozen=True)
class Registrar:
    """Registers in the own one of *stores*.

    What a step made is registered once under a name, so that reusing it years later brings no old data back
    as the latest version; what no step made becomes a version whenever the latest holds something else.
    ``by`` is a task instance or a person. ``level`` is how closely the data of the latest version is looked
    at before it stands for equal data at another place; ``cache`` spares reading it. All methods raise
    StoreError when a store fails, and as ``stores.keyring`` does.
    """

    stores: Stores
    cache: HashCache
    by: str
    level: Level

    def output(
        self,
        labels: Labels,
        data: ManifestOutput,
        holder: Datastore,
        lineage: Lineage,
        table: Mapping[str, Any] | None = None,
    ) -> Registered:
        """Register *data*, which a step made and which lies in *holder*, as a dataset."""
        store = "" if holder is self.stores.own else holder.url
        draft = DatasetVersion(
            **self._common(labels),
            digest=data.digest,
            size=data.size,
            lineage=lineage,
            output=data,
            store=store,
            table=None if table is None else dict(table),
        )
        return self._dataset(draft, f"{holder.url}/{data.key}", f"{store}/{data.key}")

    def declared(self, labels: Labels, dataset: SourceDataset, found: Source) -> Registered:
        """Register what no step made: *dataset*, whose paths are absolute, in which there is *found*."""
        declared = dataset.model_dump(mode="json", exclude_none=True)
        table = declared.pop("table", None)
        draft = DatasetVersion(
            **self._common(labels), digest=found.digest, size=found.size, declared=declared, table=table
        )
        return self._dataset(draft, dataset.paths[0], None)

    def model(self, labels: Labels, data: ManifestOutput, holder: Datastore, lineage: Lineage) -> Registered:
        """Copy *data*, which a step made and which lies in *holder*, and register it as a model."""
        version_id, own = new_version_id(), self.stores.own
        leaf = data.key.rpartition("/")[2]
        files = data.model_copy(
            update={"name": labels.name, "key": model_files_key(labels.name, version_id, leaf)}
        )
        if data.listing is not None:
            moved = {"key": model_listing_key(labels.name, version_id)}
            files = files.model_copy(update={"listing": data.listing.model_copy(update=moved)})

        def put() -> None:
            if data.listing is not None and files.listing is not None:
                own.write(files.listing.key, holder.read(data.listing.key) or b"")
            path, progress = holder.local_path(data.key), self._progress(labels)
            if path is not None:
                own.upload(path, files.key, progress)
            else:
                copy_tree({"": holder.uri(data.key)}, own.uri(files.key), progress)

        what = f"{'' if holder is own else holder.url}/{data.key}"
        return self._model(labels, version_id, files, lineage, put, what)

    def local_model(self, labels: Labels, path: Path, lineage: Lineage | None) -> Registered:
        """The same for a file or folder of this machine; UserError when nothing is at *path*."""
        version_id, own = new_version_id(), self.stores.own
        key = model_files_key(labels.name, version_id, path.name)
        listing_key = model_listing_key(labels.name, version_id)
        files = describe_stored(own, labels.name, key, listing_key, path, self.cache)
        if files is None:
            raise UserError(f"model {labels.name}: nothing is at {path}; give the path of a file or folder")

        def put() -> None:
            own.upload(path, key, self._progress(labels))

        return self._model(labels, version_id, files, lineage, put, None)

    def _dataset(self, draft: DatasetVersion, uri: str, what: str | None) -> Registered:
        def is_current(latest: DatasetVersion) -> bool:
            return latest.is_like(draft) and (_lies_alike(latest, draft) or self._is_whole(latest))

        registry = Registry(self.stores.own, DatasetVersion, self.stores.keyring)
        version, is_new = None if what is None else registry.standing_for(draft.name, what), False
        if version is None or not is_current(version):
            version, is_new = registry.register(draft, is_current)
            if what is not None:
                registry.let_stand_for(what, version)
        if not is_new and version.output is not None:
            uri = f"{version.store or self.stores.own.url}/{version.output.key}"
        return Registered("dataset", version.name, version.version, version.digest, uri, is_new)

    def _is_whole(self, version: DatasetVersion) -> bool:
        """Whether the output that *version* points at is there, unharmed, in a store within reach."""
        known = {"": self.stores.own, **{store.url: store for store in self.stores}}
        holder = known.get(version.store)
        if version.output is None or holder is None:
            return False
        return not any(damages_of(holder, version.output, self.level, self.cache))

    def _model(
        self,
        labels: Labels,
        version_id: str,
        files: ManifestOutput,
        lineage: Lineage | None,
        put: Callable[[], None],
        what: str | None,
    ) -> Registered:
        """Register *files*, which *put* puts in place unless there is a version for them already."""
        own = self.stores.own

        def is_current(latest: ModelVersion) -> bool:
            is_equal = (latest.files.kind, latest.digest) == (files.kind, files.digest)
            return is_equal and not any(damages_of(own, latest.files, self.level, self.cache))

        registry = Registry(own, ModelVersion, self.stores.keyring)
        standing = None if what is None else registry.standing_for(labels.name, what)
        candidates = (standing, registry.usable_latest(labels.name))
        version = next((found for found in candidates if found is not None and is_current(found)), None)
        is_new = False
        if version is None:
            put()
            self._refuse_damage(files)
            protect(own, files.key)
            draft = ModelVersion(
                **self._common(labels),
                id=version_id,
                digest=files.digest,
                size=files.size,
                lineage=lineage,
                files=files,
                properties=dict(labels.properties),
            )
            version, is_new = registry.register(draft, is_current)
        if what is not None and version is not standing:
            registry.let_stand_for(what, version)
        if not is_new:  # when something fails they stay: there may be a record of them whose answer was lost
            own.delete_tree(model_files_prefix(labels.name, version_id))
        uri = own.uri(version.files.key)
        return Registered("model", version.name, version.version, version.digest, uri, is_new)

    def _refuse_damage(self, files: ManifestOutput) -> None:
        """Raise StoreError unless what was put in place is what it was described as."""
        damages = [damage.sentence() for damage in damages_of(self.stores.own, files, "auto")]
        if damages:
            raise StoreError(f"model {files.name} changed while it was copied: {listing(damages)}")

    def _common(self, labels: Labels) -> dict[str, Any]:
        return {
            "name": labels.name,
            "description": labels.description,
            "tags": dict(labels.tags),
            "registered_by": self.by,
        }

    def _progress(self, labels: Labels) -> Progress:
        return Progress(f"copying model {labels.name}", log.info)


def _lies_alike(one: DatasetVersion, other: DatasetVersion) -> bool:
    """Whether both point at the same file or folder."""
    places = [(it.store, it.output and it.output.key) for it in (one, other)]
    return places[0] == places[1]
