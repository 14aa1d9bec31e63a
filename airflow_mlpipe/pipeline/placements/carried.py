"""An attempt on a machine that shares nothing with this one but the datastore."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.carrying import Carrying
from airflow_mlpipe.pipeline.intake import intake_of
from airflow_mlpipe.pipeline.placements.contract import Layout
from airflow_mlpipe.pipeline.placements.volumes import shared_folders
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.staging import StagedInput, remove_folder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import download_cache, hash_cache
from airflow_mlpipe.records import Carriage, EarlierRuns
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import SNAPSHOTS, attempt_prefix, snapshot_key
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import Mount
from airflow_mlpipe.targets.parcel import ROOT

log = logging.getLogger(__name__)


class Carried:
    """The placement of an attempt to which everything is carried: a pod, a remote engine or machine.

    *reader* is the task instance for which inputs are read.
    """

    def __init__(
        self,
        preparation: Preparation,
        places: AttemptPlaces,
        settings: Settings,
        stores: Stores,
        reader: str,
        target: ComputeTarget,
    ) -> None:
        self._preparation = preparation
        self._places = places
        self._settings = settings
        self._stores = stores
        self._reader = reader
        self._target = target
        self._records = AttemptRecords(stores.own)
        self._urls: set[str] = set()

    @cached_property
    def layout(self) -> Layout:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`.

        A datastore on a disk is mounted there, too, so that records and outputs are written where they stay.
        """
        root = _root(self._target, self._places.attempt)
        kept = self._stores.own.local_path(attempt_prefix(self._places.attempt))
        records = root / "attempt" if kept is None else PurePosixPath(kept)
        return Layout(records, root / "code", root / "inputs")

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        own, staged = self._stores.own, {}
        with hash_cache(self._settings) as cache:
            remote = RemoteInputs(self._stores, cache, download_cache(self._settings), self._progress)
            carrying = Carrying(
                self._places.attempt, self.layout.inputs, own, remote, cache, self._is_mounted, self._progress
            )
            for name, bound in self._preparation.binding.inputs.items():
                staged[name] = self._staged(bound, carrying, cache)
        url, code = self._records.url(self._places.attempt), own.uri(snapshot_key(snapshot))
        carriage = Carriage(url, code, snapshot, carrying.carried, carrying.links, carrying.in_place)
        self._records.send(self._places.directory, carriage)
        self._urls = carrying.urls
        return staged

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`; the carrier fetches them."""
        self._places.directory.write_earlier_runs(runs)
        self._records.send(self._places.directory)

    @property
    def carriage(self) -> str | None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        return self._records.url(self._places.attempt, "carriage.json")

    def mounts(self) -> tuple[Mount, ...]:
        """Nothing: no disk is shared."""
        return ()

    def urls(self) -> tuple[str, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`.

        Its inputs, its code, and the folder of the attempt.
        """
        if self._stores.own.local_path(SNAPSHOTS) is not None:
            return tuple(sorted(self._urls))
        ours = {self._stores.own.uri(SNAPSHOTS), self._records.url(self._places.attempt)}
        return tuple(sorted(self._urls | ours))

    def clear(self) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        remove_folder(self._places.scratch)
        try:
            self._stores.own.delete_tree(f"{attempt_prefix(self._places.attempt)}/inputs")
        except StoreError as error:
            log.warning(
                "The copies of inputs of attempt %s could not be removed: %s", self._places.attempt, error
            )

    def _staged(self, bound: BoundInput, carrying: Carrying, cache: HashCache) -> StagedInput:
        intake = intake_of(
            self._preparation, self._places.inputs, cache, self._settings, self._stores, self._reader
        )
        with intake.naming_damage(bound.name, self._preparation.definition.who):
            return carrying.carry(bound)

    def _is_mounted(self, path: Path) -> bool:
        """Whether the step finds what lies at *path* here under the same path."""
        store = self._stores.own.local_path(SNAPSHOTS)
        shared = [*shared_folders(self._target), *([] if store is None else [store.parents[1]])]
        return any(folder == path or folder in path.parents for folder in shared)

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)


def _root(target: ComputeTarget, attempt: str) -> PurePosixPath:
    """The folder in which an attempt lives on the machine of *target*."""
    if isinstance(target, RemoteTarget):
        from airflow_mlpipe.pipeline.compute.remote import remote_root

        return remote_root(target, attempt)
    return PurePosixPath(ROOT)
