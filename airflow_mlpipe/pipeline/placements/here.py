"""An attempt that finds this worker's folders under their own paths."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.intake import intake_of
from airflow_mlpipe.pipeline.placements.contract import Layout
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.staging import StagedInput, Staging, remove_folder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.pipeline.worker import download_cache, hash_cache
from airflow_mlpipe.records import EarlierRuns
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.snapshot import unpack
from airflow_mlpipe.targets.contract import Mount

log = logging.getLogger(__name__)

MOUNTED_ONE_BY_ONE = 16


class Here:
    """The placement of an attempt that shares this worker's disk: a process, or a container with mounts.

    *reader* is the task instance for which inputs are read. Remote inputs are mounted where the settings
    allow it and the step is not *contained*: a container cannot see what a user mounted.
    """

    def __init__(
        self,
        preparation: Preparation,
        places: AttemptPlaces,
        settings: Settings,
        stores: Stores,
        reader: str,
        *,
        contained: bool = False,
    ) -> None:
        self._preparation = preparation
        self._places = places
        self._settings = settings
        self._stores = stores
        self._reader = reader
        self._contained = contained
        self._staged: dict[str, StagedInput] = {}

    @property
    def layout(self) -> Layout:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self._places
        return Layout(*map(PurePosixPath, (places.records, places.code, places.inputs)))

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self._places
        self._remove_scratch()
        places.scratch.mkdir(parents=True)
        unpack(archive, places.code)
        (places.code / "outputs").mkdir(exist_ok=True)
        places.outputs.mkdir(parents=True, exist_ok=True)
        for name, output in self._preparation.binding.outputs.items():
            if output.is_folder:
                places.output(name).mkdir(exist_ok=True)
        self._staged = self._staged_inputs()
        return self._staged

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        self._places.directory.write_earlier_runs(runs)

    @property
    def carriage(self) -> str | None:
        """None: everything is in place."""
        return None

    def mounts(self) -> tuple[Mount, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self._places
        ours = {places.records: True, places.scratch: True}
        read = {path: False for path in self._local_data() if not _is_below(path, ours)}
        return tuple(Mount(path, writable) for path, writable in {**read, **ours}.items())

    def urls(self) -> tuple[str, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`: its direct inputs."""
        inputs = self._preparation.binding.inputs
        direct = (self._staged[name] for name, bound in inputs.items() if bound.mode == "direct")
        return tuple(url for staged in direct for url in staged.spec.paths)

    def clear(self) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        if self._settings.keep_work_directories:
            Traces(self._places.inputs).clear()
        else:
            self._remove_scratch()

    def _remove_scratch(self) -> None:
        Traces(self._places.inputs).clear()
        remove_folder(self._places.scratch)

    def _staged_inputs(self) -> dict[str, StagedInput]:
        staged = {}
        with hash_cache(self._settings) as cache:
            downloads = download_cache(self._settings)
            remote = RemoteInputs(self._stores, cache, downloads, self._progress)
            why_fetched = "containers do not see what is mounted here" if self._contained else None
            folder, policy = self._places.inputs, self._settings.mount
            staging = Staging(folder, self._progress, remote, policy, why_fetched)
            for name, bound in self._preparation.binding.inputs.items():
                staged[name] = self._staged_input(bound, staging, cache)
        Traces(self._places.inputs).all_staged()
        return staged

    def _staged_input(self, bound: BoundInput, staging: Staging, cache: HashCache) -> StagedInput:
        intake = intake_of(
            self._preparation, self._places.inputs, cache, self._settings, self._stores, self._reader
        )
        with intake.naming_damage(bound.name, self._preparation.definition.who):
            return staging.stage(bound)

    def _local_data(self) -> list[Path]:
        """What the step reads where it lies on this machine.

        An engine takes long for thousands of files: of many, the folder that has them all is shown.
        """
        found: set[Path] = set()
        for bound in self._preparation.binding.inputs.values():
            if bound.path_on_compute is not None:
                found.add(Path(bound.path_on_compute))
            if bound.mode == "download":
                continue  # it was copied
            local = [path for place in bound.source.places if (path := local_path(place.uri)) is not None]
            found.update(local if len(local) <= MOUNTED_ONE_BY_ONE else {Path(os.path.commonpath(local))})
        return sorted(found)

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)


def _is_below(path: Path, folders: Mapping[Path, bool]) -> bool:
    return any(folder == path or folder in path.parents for folder in folders)
