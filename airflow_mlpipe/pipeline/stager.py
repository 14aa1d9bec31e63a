"""Staging an input: what the step is told of it, wherever its machine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.model.inputs import TabularFormat
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.records import InputSpec
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_listing import leaf_of
from airflow_mlpipe.store.sources import Place


@dataclass(frozen=True)
class StagedInput:
    """An input in place: ``argument`` stands for it in the arguments and in its environment variable."""

    argument: str
    spec: InputSpec


@dataclass
class Stager(ABC):
    """Stages the inputs of one attempt; how data comes to the step's machine is for the subclass to say.

    *remote* knows what lies on servers, and *progress* follows what takes long.
    """

    remote: RemoteInputs
    progress: Callable[[str], Progress]

    def stage(self, bound: BoundInput) -> StagedInput:
        """See that the step finds one input. Raises UserError or StoreError when it cannot be had."""
        if bound.tabular is not None:
            return self._table(bound, bound.tabular)
        path = self._url(bound) if bound.mode == "direct" else str(self._path(bound))
        return StagedInput(path, InputSpec("file", [path]))

    @abstractmethod
    def _path(self, bound: BoundInput) -> PurePath:
        """Where the step finds an input that it does not open by itself."""

    @abstractmethod
    def _files_at(self, bound: BoundInput, path: PurePath) -> list[str]:
        """The file at *path*, where the step finds the input, or the files below it, sorted."""

    @abstractmethod
    def _note_direct(self, bound: BoundInput, uri: str) -> None:
        """Take note that the step opens *uri*, a part of the input, by itself; UserError when it cannot."""

    def _table(self, bound: BoundInput, table: TabularFormat) -> StagedInput:
        definition = table.model_dump(mode="json")
        if bound.mode == "direct" and bound.query is None:
            files = [url for place in bound.source.places for url in self._urls(bound, place)]
        else:
            path = self._path(bound)
            files = self._files_at(bound, path)
            definition["root"] = str(path.parent if files == [str(path)] else path)
        return StagedInput(bound.source.digest, InputSpec("tabular", files, definition))

    def _url(self, bound: BoundInput) -> str:
        if bound.source.whole is None:
            raise UserError(
                f"input {bound.name} is several files, which have no one URL; mount or download it"
            )
        self._note_direct(bound, bound.source.whole)
        return bound.source.whole

    def _urls(self, bound: BoundInput, place: Place) -> list[str]:
        """The files at *place* as the step opens them by itself: URLs, or paths on a disk that it sees."""
        self._note_direct(bound, place.uri)
        path = local_path(place.uri)
        return self.remote.urls(bound, place) if path is None else files_at(path)


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
