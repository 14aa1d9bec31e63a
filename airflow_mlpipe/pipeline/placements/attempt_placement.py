"""What all placements of an attempt start from."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.intake import intake_of
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stager import StagedInput, Stager
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import download_cache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress

log = logging.getLogger(__name__)


@dataclass
class AttemptPlacement:
    """An attempt to be placed: what it does, and where this worker keeps it.

    *reader* is the task instance for which inputs are read.
    """

    preparation: Preparation
    places: AttemptPlaces
    settings: Settings
    stores: Stores
    reader: str

    @property
    def _target(self) -> ComputeTarget:
        return self.preparation.definition.target

    def _remote_inputs(self, cache: HashCache) -> RemoteInputs:
        return RemoteInputs(self.stores, cache, download_cache(self.settings), self._progress)

    def _staged_by(self, stager: Stager, cache: HashCache) -> dict[str, StagedInput]:
        """All inputs, in place. Raises as :meth:`Placement.stage` does."""
        intake = intake_of(
            self.preparation, self.places.inputs, cache, self.settings, self.stores, self.reader
        )
        staged = {}
        for name, bound in self.preparation.binding.inputs.items():
            with intake.naming_damage(name, self.preparation.definition.who):
                staged[name] = stager.stage(bound)
        return staged

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)
