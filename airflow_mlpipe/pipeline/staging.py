"""Putting inputs where the script expects them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.records import InputSpec
from airflow_mlpipe.store.fetching import fetch, local_path
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import Place
from airflow_mlpipe.store.tree import recreate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedInput:
    """An input in place: ``argument`` stands for it in the arguments and in its environment variable."""

    argument: str
    spec: InputSpec


class Staging:
    """Stages the inputs of one attempt below *folder*, and takes away what it put elsewhere.

    What it put elsewhere is noted beside *folder*, so that it is also found after the worker was killed.
    """

    def __init__(self, folder: Path, progress: Callable[[str], Progress]) -> None:
        self._folder = folder
        self._progress = progress
        self._notes = folder.with_name("links")

    def stage(self, bound: BoundInput) -> StagedInput:
        """Put one input in place. Raises UserError or StoreError when it cannot be."""
        if bound.tabular is not None:
            return self._table(bound)
        if bound.mode == "direct":
            return self._direct(bound)
        path = str(self._path(bound))
        return StagedInput(path, InputSpec("file", [path]))

    def clear(self) -> None:
        """Remove the links that this attempt has outside of the folder. Twice is fine."""
        for note in self._notes.glob("*"):
            link = note.readlink()
            if link.is_symlink():
                link.unlink()
            note.unlink()

    def _direct(self, bound: BoundInput) -> StagedInput:
        if bound.source.whole is None:
            raise UserError(
                f"input {bound.name} is several files, which have no one URL; mount or download it"
            )
        return StagedInput(bound.source.whole, InputSpec("file", [bound.source.whole]))

    def _table(self, bound: BoundInput) -> StagedInput:
        assert bound.tabular is not None
        root = self._path(bound)
        files = (
            sorted(str(file) for file in root.rglob("*") if file.is_file()) if root.is_dir() else [str(root)]
        )
        definition = bound.tabular.model_dump(mode="json")
        return StagedInput(bound.source.digest, InputSpec("tabular", files, definition))

    def _path(self, bound: BoundInput) -> Path:
        whole = bound.source.whole
        in_place = local_path(whole) if whole is not None and bound.mode == "mount" else None
        if in_place is not None:
            return in_place if bound.path_on_compute is None else self._link(in_place, bound)
        if bound.mode == "mount" and not all(local_path(place.uri) for place in bound.source.places):
            log.info("Input %s lies on a remote store: it is downloaded, not mounted", bound.name)
        fetched = self._fetch(bound)
        return fetched if bound.path_on_compute is None else self._link(fetched, bound)

    def _fetch(self, bound: BoundInput) -> Path:
        """A copy of the input of this attempt's own; a mount made of local files is one of links instead."""
        root = self._folder / bound.name
        root.mkdir(parents=True)
        progress = self._progress(f"fetching input {bound.name}")
        for place in bound.source.places:
            target = root / (place.path or _leaf(place, bound))
            target.parent.mkdir(parents=True, exist_ok=True)
            local = local_path(place.uri)
            if bound.mode == "mount" and local is not None:
                _put_links(local, target)
            elif bound.source.kind != "missing":
                fetch(place.uri, target, progress)
        return root / _leaf(bound.source.places[0], bound) if bound.source.whole is not None else root

    def _link(self, path: Path, bound: BoundInput) -> Path:
        assert bound.path_on_compute is not None
        link = Path(bound.path_on_compute)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        except OSError as error:
            raise UserError(
                f"input {bound.name} cannot be put at {link}: {error.strerror}; if another run uses that "
                "path now, let the target choose it, or give the steps a pool of one slot"
            ) from error
        self._notes.mkdir(exist_ok=True)
        (self._notes / bound.name).symlink_to(link)
        return link


def _put_links(source: Path, target: Path) -> None:
    """Put at *target* what lies at *source*, as links to its files.

    Folders are folders: whoever walks through a tree passes over links to some.
    """
    if not source.is_dir():
        target.symlink_to(source)
        return
    recreate(source, target, lambda file, link: link.symlink_to(file))


def _leaf(place: Place, bound: BoundInput) -> str:
    """The name of the data at its place, so that a single file keeps its extension for the script."""
    name = place.uri.rstrip("/").rpartition("/")[2]
    if name in ("", ".", ".."):
        return bound.name
    return name


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
