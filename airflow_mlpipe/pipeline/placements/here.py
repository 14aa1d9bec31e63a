"""An attempt that finds this worker's folders under their own paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.pipeline.placements.attempt_placement import AttemptPlacement
from airflow_mlpipe.pipeline.placements.contract import Layout
from airflow_mlpipe.pipeline.stager import StagedInput
from airflow_mlpipe.pipeline.staging import Staging, remove_folder
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.records import EarlierRuns
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.snapshot import unpack
from airflow_mlpipe.targets.contract import Mount

MOUNTED_ONE_BY_ONE = 16


@dataclass
class Here(AttemptPlacement):
    """The placement of an attempt that shares this worker's disk: a process, or a container with mounts.

    Remote inputs are mounted where the settings allow it, but not for a container: it cannot see what a user
    mounted.
    """

    _staged: dict[str, StagedInput] = field(default_factory=dict, init=False)

    @property
    def layout(self) -> Layout:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self.places
        return Layout(*map(PurePosixPath, (places.records, places.code, places.inputs)))

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self.places
        self._remove_scratch()
        places.scratch.mkdir(parents=True)
        unpack(archive, places.code)
        (places.code / "outputs").mkdir(exist_ok=True)
        places.outputs.mkdir(parents=True, exist_ok=True)
        for name, output in self.preparation.binding.outputs.items():
            if output.is_folder:
                places.output(name).mkdir(exist_ok=True)
        self._staged = self._staged_inputs()
        Traces(places.inputs).all_staged()
        return self._staged

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        self.places.directory.write_earlier_runs(runs)

    @property
    def carriage(self) -> str | None:
        """None: everything is in place."""
        return None

    def mounts(self) -> tuple[Mount, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        places = self.places
        ours = {places.records: True, places.scratch: True}
        read = {path: False for path in self._local_data() if not _is_below(path, ours)}
        return tuple(Mount(path, writable) for path, writable in {**read, **ours}.items())

    def urls(self) -> tuple[str, ...]:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`: its direct inputs."""
        inputs = self.preparation.binding.inputs
        direct = (self._staged[name] for name, bound in inputs.items() if bound.mode == "direct")
        return tuple(url for staged in direct for url in staged.spec.paths)

    def clear(self) -> None:
        """See :class:`~airflow_mlpipe.pipeline.placements.contract.Placement`."""
        if self.settings.keep_work_directories:
            Traces(self.places.inputs).clear()
        else:
            self._remove_scratch()

    def _remove_scratch(self) -> None:
        Traces(self.places.inputs).clear()
        remove_folder(self.places.scratch)

    def _staged_inputs(self) -> dict[str, StagedInput]:
        contained = isinstance(self._target, ContainerTarget)
        why_never_mounted = "containers do not see what is mounted here" if contained else None
        folder, policy = self.places.inputs, self.settings.mount
        with hash_cache(self.settings) as cache:
            remote = self._remote_inputs(cache)
            return self._staged_by(Staging(remote, self._progress, folder, policy, why_never_mounted), cache)

    def _local_data(self) -> list[Path]:
        """What the step reads where it lies on this machine.

        An engine takes long for thousands of files: of many, the folder that has them all is shown.
        """
        found: set[Path] = set()
        for bound in self.preparation.binding.inputs.values():
            if bound.path_on_compute is not None:
                found.add(Path(bound.path_on_compute))
            if bound.mode == "download":
                continue  # it was copied
            local = [path for place in bound.source.places if (path := local_path(place.uri)) is not None]
            found.update(local if len(local) <= MOUNTED_ONE_BY_ONE else {Path(os.path.commonpath(local))})
        return sorted(found)


def _is_below(path: Path, folders: Mapping[Path, bool]) -> bool:
    return any(folder == path or folder in path.parents for folder in folders)
