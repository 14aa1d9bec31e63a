"""Holding inputs against what was fingerprinted: before a step reads them, and after it has."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import ManifestUnusable, parse_manifest
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import SourceFinder

log = logging.getLogger(__name__)


class Intake:
    """The inputs of one attempt. *base* is the folder at which relative paths of datasets start.

    Data on this machine is compared by content, which costs a stat for each file that did not change since
    it was last hashed. Data elsewhere is not looked at. *reader* is the task instance that reads them.
    """

    def __init__(self, binding: Binding, base: Path, cache: HashCache, stores: Stores, reader: str) -> None:
        self._binding = binding
        self._cache = cache
        self._stores = stores
        self._reader = reader
        self._finder = SourceFinder(base, cache, self._progress)

    def differences(self) -> list[str]:
        """In a sentence each, the inputs that do not hold what the fingerprint says they hold.

        An output that turns out damaged is taken out of use, so that the next run makes it again.
        """
        found = []
        for name, bound in self._binding.inputs.items():
            if any(self._is_damaged(reference) for reference in bound.source.references):
                found.append(f"input {name} is not what its step had sealed; the next run makes it again")
            elif bound.dataset is not None and self._has_changed(bound):
                found.append(f"input {name} was changed since it was hashed")
        return found

    def _is_damaged(self, reference: PipelineDataReference) -> bool:
        path = local_path(reference.uri)
        if path is None:
            return False
        progress = self._progress(f"checking {reference.name}")
        if describe(path, self._cache, progress).digest == reference.digest:
            return False
        log.warning("Output %s of %s is damaged: it is not reused again", reference.name, reference.producer)
        if reference.sealed:
            self._take_out_of_use(reference)
        return True

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
        assert bound.dataset is not None
        if any(local_path(place.uri) is None for place in bound.source.places):
            return False
        now = self._finder.dataset(bound.dataset.paths, bound.dataset.identity, f"input {bound.name}")
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
