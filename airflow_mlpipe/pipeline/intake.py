"""Holding inputs against what was fingerprinted: before a step reads them, and after it has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import InfrastructureError, StoreError, UserError
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.pipeline.worker import source_finder
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import ManifestUnusable, parse_manifest
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_listing import ListedFile, list_remote
from airflow_mlpipe.store.sources import Source, SourceFinder
from airflow_mlpipe.store.verification import Level, verify

log = logging.getLogger(__name__)


def intake_of(
    preparation: Preparation, folder: Path, cache: HashCache, settings: Settings, stores: Stores, reader: str
) -> Intake:
    """The inputs of an attempt of what was prepared, staged in *folder*, for the task instance *reader*."""
    finder = source_finder(preparation.definition.folder, cache, settings)
    return Intake(preparation.binding, finder, cache, stores, Traces(folder), reader)


class Intake:
    """The inputs of one attempt, which left *traces* when they were put in place.

    Datasets are looked at again by *finder*: on this machine that costs a stat for each file that did not
    change since it was last hashed, elsewhere a listing. Outputs of other steps are compared with their
    digests: on this machine here, elsewhere while they are fetched; those that the script opens by itself are
    looked for with their sizes. *reader* is the task instance that reads.
    """

    def __init__(
        self,
        binding: Binding,
        finder: SourceFinder,
        cache: HashCache,
        stores: Stores,
        traces: Traces,
        reader: str,
    ) -> None:
        self._binding = binding
        self._finder = finder
        self._cache = cache
        self._stores = stores
        self._traces = traces
        self._reader = reader

    def differences(self) -> list[str]:
        """In a sentence each, the inputs that do not hold what the fingerprint says they hold.

        An output that turns out damaged is taken out of use, so that the next run makes it again.
        """
        found = []
        for name, bound in self._binding.inputs.items():
            damaged = [
                reference for reference in bound.source.references if self._is_damaged(bound, reference)
            ]
            if damaged:
                found.append(self._lost(name, damaged))
            elif bound.mode != "download" and self._traces.is_spoilt(name):
                found.append(f"input {name} was written into while the step ran")
            elif bound.dataset is not None and self._has_changed(bound):
                found.append(f"input {name} was changed since it was hashed")
            elif bound.pin is not None and bound.pin.kind == "model" and self._is_altered(bound.source):
                found.append(f"input {name} is not what was registered; register the model anew")
        return found

    def damage(self, name: str) -> str | None:
        """A sentence, if the input *name* could not be fetched because outputs of other steps are damaged.

        Their bytes are read for it. What is damaged is taken out of use.
        """
        references = self._binding.inputs[name].source.references
        remote = [reference for reference in references if local_path(reference.uri) is None]
        damaged = [reference for reference in remote if self._lacks(reference, "digest")]
        return self._lost(name, damaged) if damaged else None

    @contextmanager
    def naming_damage(self, name: str, who: str) -> Iterator[None]:
        """Raise an InfrastructureError in place of what the store said, when it is *name* that is damaged."""
        try:
            yield
        except StoreError as error:
            if (damage := self.damage(name)) is not None:
                raise InfrastructureError(f"{who}: {damage}") from error
            raise

    def _lost(self, name: str, damaged: Sequence[PipelineDataReference]) -> str:
        for reference in damaged:
            log.warning(
                "Output %s of %s is damaged: it is not reused again", reference.name, reference.producer
            )
            if reference.sealed:
                self._take_out_of_use(reference)
        return f"input {name} is not what its step had sealed; the next run makes it again"

    def _is_damaged(self, bound: BoundInput, reference: PipelineDataReference) -> bool:
        path = local_path(reference.uri)
        if path is None:
            return bound.mode == "direct" and self._lacks(reference, "size")
        progress = self._progress(f"checking {reference.name}")
        return describe(path, self._cache, progress).digest != reference.digest

    def _is_altered(self, model: Source) -> bool:
        """Whether a registered model on this machine is not what its version says."""
        paths = (local_path(place.uri) for place in model.places)
        return any(path is not None and describe(path, self._cache).digest != model.digest for path in paths)

    def _lacks(self, reference: PipelineDataReference, level: Level) -> bool:
        """Whether something of a remote output is missing or, as far as *level* says, another."""
        holder = self._stores.holding(reference.uri)
        data = None if holder is None else holder.read(manifest_key(reference.fingerprint))
        if holder is None or data is None or not _still_counts(reference, holder, data):
            return sum(file.size or 0 for file in self._listed(reference)) != reference.size
        manifest = parse_manifest(data, reference.fingerprint)
        output = {reference.name: manifest.outputs[reference.name]}
        return bool(verify(holder, manifest.model_copy(update={"outputs": output}), level))

    def _listed(self, reference: PipelineDataReference) -> Sequence[ListedFile]:
        return list_remote(access_to(reference.uri)).files

    def _take_out_of_use(self, reference: PipelineDataReference) -> None:
        """See that nobody here is given *reference* again; nothing is written to the stores of others."""
        holder = self._stores.holding(reference.uri)
        data = None if holder is None else holder.read(manifest_key(reference.fingerprint))
        if holder is None or data is None or not _still_counts(reference, holder, data):
            return
        invalidations = Invalidations(self._stores.own)
        why = f"output {reference.name} was damaged"
        if holder is self._stores.own:
            invalidations.invalidate(reference.fingerprint, self._reader, why, seen=data)
        else:
            invalidations.distrust(reference.fingerprint, self._reader, why)

    def _has_changed(self, bound: BoundInput) -> bool:
        dataset = bound.dataset
        assert dataset is not None
        try:
            now = self._finder.dataset(
                dataset.paths, dataset.identity, f"input {bound.name}", dataset.selection
            )
        except UserError as error:
            log.warning("%s", error)
            return True
        return now.digest != bound.source.digest

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)


def _still_counts(reference: PipelineDataReference, holder: Datastore, data: bytes) -> bool:
    """Whether the manifest in *data* gives out *reference*; not once the outputs were made again."""
    try:
        output = parse_manifest(data, reference.fingerprint).outputs.get(reference.name)
    except ManifestUnusable:
        return False
    return output is not None and holder.uri(output.key) == reference.output_uri
