"""An attempt on a machine that shares nothing with this one but the datastore."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.carrying import Carrying
from airflow_mlpipe.pipeline.compute.remote import remote_root
from airflow_mlpipe.pipeline.placements.attempt_placement import AttemptPlacement
from airflow_mlpipe.pipeline.placements.contract import Layout
from airflow_mlpipe.pipeline.placements.volumes import shared_folders
from airflow_mlpipe.pipeline.stager import StagedInput
from airflow_mlpipe.pipeline.staging import remove_folder
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.records import Carriage, EarlierRuns
from airflow_mlpipe.store.layout import SNAPSHOTS, attempt_prefix, copies_key, snapshot_key
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import Mount
from airflow_mlpipe.targets.parcel import ROOT

log = logging.getLogger(__name__)


@dataclass
class Carried(AttemptPlacement):
    """The placement of an attempt to which everything is carried: a pod, a remote engine or machine."""

    _urls: set[str] = field(default_factory=set, init=False)

    @cached_property
    def layout(self) -> Layout:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`.

        A datastore on a disk is mounted there, too, so that records and outputs are written where they stay.
        """
        root = _root(self._target, self.places.attempt)
        kept = self.stores.own.local_path(attempt_prefix(self.places.attempt))
        records = root / "attempt" if kept is None else PurePosixPath(kept)
        return Layout(records, root / "code", root / "inputs")

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        own = self.stores.own
        with hash_cache(self.settings) as cache:
            remote, attempt = self._remote_inputs(cache), self.places.attempt
            carrying = Carrying(
                remote, self._progress, attempt, self.layout.inputs, own, cache, self._is_mounted
            )
            staged = self._staged_by(carrying, cache)
        url, code = self._records.url(self.places.attempt), own.uri(snapshot_key(snapshot))
        carriage = Carriage(url, code, snapshot, carrying.carried, carrying.links, carrying.in_place)
        self._records.send(self.places.directory, carriage)
        self._urls = carrying.urls
        return staged

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`; the carrier fetches them."""
        self.places.directory.write_earlier_runs(runs)
        self._records.send(self.places.directory)

    @property
    def carriage(self) -> str | None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        return self._records.url(self.places.attempt, "carriage.json")

    def mounts(self) -> tuple[Mount, ...]:
        """Nothing: no disk is shared."""
        return ()

    def urls(self) -> tuple[str, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`.

        Its inputs, its code, and the folder of the attempt.
        """
        if self.stores.own.local_path(SNAPSHOTS) is not None:
            return tuple(sorted(self._urls))
        ours = {self.stores.own.uri(SNAPSHOTS), self._records.url(self.places.attempt)}
        return tuple(sorted(self._urls | ours))

    def clear(self) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        remove_folder(self.places.scratch)
        try:
            self.stores.own.delete_tree(copies_key(self.places.attempt))
        except StoreError as error:
            log.warning(
                "The copies of inputs of attempt %s could not be removed: %s", self.places.attempt, error
            )

    @property
    def _records(self) -> AttemptRecords:
        return AttemptRecords(self.stores.own)

    def _is_mounted(self, path: Path) -> bool:
        """Whether the step finds what lies at *path* here under the same path."""
        store = self.stores.own.local_path(SNAPSHOTS)
        shared = [*shared_folders(self._target), *([] if store is None else [store.parents[1]])]
        return any(folder == path or folder in path.parents for folder in shared)


def _root(target: ComputeTarget, attempt: str) -> PurePosixPath:
    """The folder in which an attempt lives on the machine of *target*."""
    if isinstance(target, RemoteTarget):
        return remote_root(target, attempt)
    return PurePosixPath(ROOT)
