"""An attempt on a machine that shares nothing with this one but the datastore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.placements.contract import Layout
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.staging import StagedInput, remove_folder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.records import EarlierRuns
from airflow_mlpipe.store.layout import attempt_prefix
from airflow_mlpipe.targets.contract import Mount


class Carried:
    """The placement of an attempt to which everything is carried: a pod, a machine behind SSH, a remote engine.

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
        self._root = PurePosixPath(
            "/mlpipe"
        )  # H4/H7: a RemoteTarget has a folder of its own for each attempt

    @property
    def layout(self) -> Layout:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`.

        A datastore on a disk is mounted there, too, so that records and outputs are written where they stay.
        """
        kept = self._stores.own.local_path(attempt_prefix(self._places.attempt))
        records = self._root / "attempt" if kept is None else PurePosixPath(kept)
        return Layout(records, self._root / "code", self._root / "inputs")

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        raise NotImplementedError  # H4, with pipeline/carrying.py

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        raise NotImplementedError  # H4: children.json below the attempt's prefix; the carrier fetches it

    @property
    def carriage(self) -> str | None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        raise NotImplementedError  # H4

    def mounts(self) -> tuple[Mount, ...]:
        """Nothing: no disk is shared."""
        return ()

    def urls(self) -> tuple[str, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        raise NotImplementedError  # H4

    def clear(self) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        remove_folder(self._places.scratch)
