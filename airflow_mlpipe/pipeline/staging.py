"""Putting inputs where the script expects them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.inputs import TabularFormat
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.mounting import CannotMount, mount
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs, is_remote
from airflow_mlpipe.pipeline.settings import MountPolicy
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.records import InputSpec
from airflow_mlpipe.store.fetching import fetch, local_path
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_listing import leaf_of
from airflow_mlpipe.store.sources import Place
from airflow_mlpipe.store.tree import recreate

log = logging.getLogger(__name__)

_DOWNLOADED = "Input %s lies on a remote store: it is downloaded, not mounted, because %s"


@dataclass(frozen=True)
class StagedInput:
    """An input in place: ``argument`` stands for it in the arguments and in its environment variable."""

    argument: str
    spec: InputSpec


class Staging:
    """Stages the inputs of one attempt below *folder*, and leaves *traces* of what it puts elsewhere.

    *remote* brings what lies on servers. *policy* says whether that may be mounted in place of a copy, and
    *why_fetched* why it cannot be for this attempt, whatever the policy is.
    """

    def __init__(
        self,
        folder: Path,
        progress: Callable[[str], Progress],
        remote: RemoteInputs,
        policy: MountPolicy,
        why_fetched: str | None = None,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._remote = remote
        self._policy = policy
        self._why_never_mounted = why_fetched
        self._traces = Traces(folder)

    def stage(self, bound: BoundInput) -> StagedInput:
        """Put one input in place. Raises UserError or StoreError when it cannot be."""
        if bound.tabular is not None:
            return self._table(bound, bound.tabular)
        path = self._direct(bound) if bound.mode == "direct" else str(self._path(bound))
        return StagedInput(path, InputSpec("file", [path]))

    def _table(self, bound: BoundInput, table: TabularFormat) -> StagedInput:
        definition = table.model_dump(mode="json")
        if bound.mode == "direct" and bound.query is None:
            files = self._urls(bound)
        else:
            path = self._path(bound)
            files = files_at(path)
            definition["root"] = str(path if path.is_dir() else path.parent)
        return StagedInput(bound.source.digest, InputSpec("tabular", files, definition))

    def _direct(self, bound: BoundInput) -> str:
        if bound.source.whole is None:
            raise UserError(
                f"input {bound.name} is several files, which have no one URL; mount or download it"
            )
        return bound.source.whole

    def _urls(self, bound: BoundInput) -> list[str]:
        """The files of an input that is not brought here: URLs, or paths on this machine."""
        urls: list[str] = []
        for place in bound.source.places:
            local = local_path(place.uri)
            urls += self._remote.urls(bound, place) if local is None else files_at(local)
        return urls

    def _path(self, bound: BoundInput) -> Path:
        """Where the input lies once it is here."""
        whole = bound.source.whole
        path = local_path(whole) if whole is not None and bound.mode == "mount" else None
        if bound.query is not None:
            path = self._folder / bound.name
            bound.query.put(path)
        if path is None:
            root = self._mounted(bound) or self._fetched(bound)
            path = root if whole is None else root / inside(bound.source.places[0], bound)
        if bound.path_on_compute is None:
            return path
        link = Path(bound.path_on_compute)
        self._traces.link(bound.name, link, path)
        return link

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
            log.log(logging.WARNING if self._policy == "fuse" else logging.INFO, _DOWNLOADED, bound.name, why)
            return None
        log.info("Input %s lies on a remote store: it is mounted, and read as the step reads it", bound.name)
        return point

    def _why_fetched(self, bound: BoundInput) -> str | None:
        if self._why_never_mounted is not None:
            return self._why_never_mounted
        if self._policy == "download":
            return "[mlpipe] mount says so"
        if bound.source.references or (bound.pin is not None and bound.pin.kind == "model"):
            return "outputs of steps and registered models are compared byte by byte"
        if any(place.files is None for place in bound.source.places):
            return "not all of it is a remote dataset"
        return None

    def _fetched(self, bound: BoundInput) -> Path:
        """The folder of a copy: of this attempt's own to download, else of links and of files to read."""
        root = self._folder / bound.name
        root.mkdir(parents=True, exist_ok=True)
        own = bound.mode == "download"
        remote: list[tuple[Place, Path]] = []
        progress = self._progress(f"fetching input {bound.name}")
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
            self._remote.fetch(bound, remote, own=own)
        return root


def _put_links(source: Path, target: Path) -> None:
    """Put at *target* what lies at *source*, as links to its files.

    Folders are folders: whoever walks through a tree passes over links to some.
    """
    if not source.is_dir():
        target.symlink_to(source)
        return
    recreate(source, target, lambda file, link: link.symlink_to(file))


def files_at(path: Path) -> list[str]:
    """The file at *path*, or the files below it, sorted."""
    if not path.is_dir():
        return [str(path)]
    return sorted(str(file) for file in path.rglob("*") if file.is_file())


def inside(place: Place, bound: BoundInput) -> str:
    """The path of a place in the folder of its input; data that is one file keeps its name there."""
    if place.path:
        return place.path
    name = leaf_of(place.uri)
    return bound.name if name in ("", ".", "..") else name


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
