"""Holding inputs against what was fingerprinted: before a step reads them, and after it has."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import describe
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import SourceFinder

log = logging.getLogger(__name__)


class Intake:
    """The inputs of one attempt. *base* is the folder at which relative paths of datasets start.

    Data on this machine is compared by content, which costs a stat for each file that did not change since
    it was last hashed. Data elsewhere is not looked at.
    """

    def __init__(self, binding: Binding, base: Path, cache: HashCache, datastore: Datastore) -> None:
        self._binding = binding
        self._cache = cache
        self._datastore = datastore
        self._finder = SourceFinder(base, cache.file_digest, self._progress)

    def differences(self) -> list[str]:
        """In a sentence each, the inputs that do not hold what the fingerprint says they hold.

        The manifest of an output that turns out damaged is withdrawn, so that the next run makes it again.
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
        if describe(path, self._cache.file_digest, progress).digest == reference.digest:
            return False
        log.warning(
            "Output %s of %s is damaged; its manifest is withdrawn", reference.name, reference.producer
        )
        if reference.sealed:
            self._datastore.delete(manifest_key(reference.fingerprint))
        return True

    def _has_changed(self, bound: BoundInput) -> bool:
        assert bound.dataset is not None
        if any(local_path(place.uri) is None for place in bound.source.places):
            return False
        now = self._finder.dataset(bound.dataset.paths, bound.dataset.identity, f"input {bound.name}")
        return now.digest != bound.source.digest

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)
