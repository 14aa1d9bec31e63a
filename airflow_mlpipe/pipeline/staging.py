"""Putting inputs on this machine, where the script expects them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.mounting import CannotMount, mount
from airflow_mlpipe.pipeline.remote_inputs import is_remote
from airflow_mlpipe.pipeline.settings import MountPolicy
from airflow_mlpipe.pipeline.stager import Stager, files_at, inside
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.store.fetching import fetch, local_path
from airflow_mlpipe.store.sources import Place
from airflow_mlpipe.store.tree import recreate

log = logging.getLogger(__name__)

_DOWNLOADED = "Input %s lies on a remote store: it is downloaded, not mounted, because %s"


@dataclass
class Staging(Stager):
    """Stages inputs below *folder*, and leaves traces of what it puts elsewhere.

    *policy* says whether what lies on servers may be mounted in place of a copy, and *why_never_mounted* why
    it cannot be for this attempt, whatever the policy is.
    """

    folder: Path
    policy: MountPolicy
    why_never_mounted: str | None = None

    @property
    def _traces(self) -> Traces:
        return Traces(self.folder)

    def _path(self, bound: BoundInput) -> Path:
        whole = bound.source.whole
        path = local_path(whole) if whole is not None and bound.mode == "mount" else None
        if bound.query is not None:
            path = self.folder / bound.name
            bound.query.put(path)
        if path is None:
            root = self._mounted(bound) or self._fetched(bound)
            path = root if whole is None else root / inside(bound.source.places[0], bound)
        if bound.path_on_compute is None:
            return path
        link = Path(bound.path_on_compute)
        self._traces.link(bound.name, link, path)
        return link

    def _note_direct(self, bound: BoundInput, uri: str) -> None:
        """Nothing: the step opens what this worker can."""

    def _files_at(self, bound: BoundInput, path: PurePath) -> list[str]:
        return files_at(Path(path))

    def _mounted(self, bound: BoundInput) -> Path | None:
        """The folder in which the input is mounted; None when it is to be fetched."""
        if bound.mode != "mount" or not any(map(is_remote, bound.source.places)):
            return None
        if (reason := self._why_fetched(bound)) is not None:
            log.info(_DOWNLOADED, bound.name, reason)
            return None
        point, complaints = self._traces.mount_point(bound.name)
        places = [(inside(place, bound), place) for place in bound.source.places]
        try:
            mount(places, point, complaints)
        except CannotMount as why:
            log.log(logging.WARNING if self.policy == "fuse" else logging.INFO, _DOWNLOADED, bound.name, why)
            return None
        log.info("Input %s lies on a remote store: it is mounted, and read as the step reads it", bound.name)
        return point

    def _why_fetched(self, bound: BoundInput) -> str | None:
        if self.why_never_mounted is not None:
            return self.why_never_mounted
        if self.policy == "download":
            return "[mlpipe] mount says so"
        if bound.source.references or (bound.pin is not None and bound.pin.kind == "model"):
            return "outputs of steps and registered models are compared byte by byte"
        if any(place.files is None for place in bound.source.places):
            return "not all of it is a remote dataset"
        return None

    def _fetched(self, bound: BoundInput) -> Path:
        """The folder of a copy: of this attempt's own to download, else of links and of files to read."""
        root = self.folder / bound.name
        root.mkdir(parents=True, exist_ok=True)
        own = bound.mode == "download"
        remote: list[tuple[Place, Path]] = []
        progress = self.progress(f"fetching input {bound.name}")
        for place in bound.source.places if bound.source.kind != "missing" else ():
            target = root / inside(place, bound)
            local = local_path(place.uri)
            if local is None:
                remote.append((place, target))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if own:
                fetch(place.uri, target, progress)
            else:
                _put_links(local, target)
        if remote:
            self.remote.fetch(bound, remote, own=own)
        return root


def _put_links(source: Path, target: Path) -> None:
    """Put at *target* what lies at *source*, as links to its files.

    Folders are folders: whoever walks through a tree passes over links to some.
    """
    if not source.is_dir():
        target.symlink_to(source)
        return
    recreate(source, target, lambda file, link: link.symlink_to(file))


def remove_folder(folder: Path) -> None:
    """Remove a working directory, read-only copies in it included; a failure is logged, not raised."""

    def make_writable_and_retry(function: Callable[[str], object], path: str, error: object) -> None:
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - shutil hands over texts
        function(path)

    try:
        shutil.rmtree(folder, onerror=make_writable_and_retry)
    except FileNotFoundError:
        pass
    except (OSError, StoreError) as error:
        log.warning("The working directory %s could not be removed: %s", folder, error)
