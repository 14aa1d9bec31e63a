"""Leaving in the datastore what a step made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from airflow_mlpipe.access import access_to, opened
from airflow_mlpipe.errors import DocumentError, StoreError, UserError
from airflow_mlpipe.records import Brought, LaunchSpec, ReturnedValues, from_json
from airflow_mlpipe.store.atomic import remove
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.layout import EMPTY_FOLDER, check_output_name
from airflow_mlpipe.store.parallel import default_threads, in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import read_tree

BROUGHT = "brought.jsonl"
# Of a step that failed, so much is left; of one that succeeded, also what it made.
_ALWAYS = ("log.txt", "metrics.jsonl")
_OF_SUCCESS = ("returned.json", "registrations.jsonl")
# What a script leaves in ./outputs is kept with the run, see airflow_mlpipe.runtime.kept_files.
LEFT = "files/outputs"


class Leaver:
    """Leaves what the attempt of *spec* made in *store*, its own folder."""

    def __init__(self, spec: LaunchSpec, store: Datastore, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._store = store
        self._say = say
        self._directory = Path(spec.directory)
        # A store on a mounted disk has the attempt's records, and its outputs, at their places.
        self._in_place = store.local_path("result.json") == self._directory / "result.json"

    def clear(self) -> None:
        """Take away what an earlier try of the same attempt left. Raises StoreError."""
        for folder in ("outputs", "files"):
            self._store.delete_tree(folder)
        there = {file.key for file in self._store.files()}
        for record in there & {BROUGHT, "ended.json", *_ALWAYS, *_OF_SUCCESS}:
            self._store.delete(record)
        if not self._in_place:
            remove(self._directory)
        self._directory.mkdir(parents=True, exist_ok=True)

    def leave_everything(self) -> None:
        """Leave outputs, kept files and records, and say what they are.

        Raises StoreError, and UserError for what cannot be kept.
        """
        left = self._directory / BROUGHT
        with left.open("w", encoding="ascii") as brought:
            for place, path in self._places():
                for record in self._left(place, path):
                    brought.write(json.dumps(dataclasses.asdict(record), sort_keys=True) + "\n")
        self._leave_records((*_ALWAYS, *_OF_SUCCESS, BROUGHT))

    def leave_log(self) -> None:
        """Leave what tells of a step that failed. Raises StoreError."""
        self._leave_records(_ALWAYS)

    def _leave_records(self, names: tuple[str, ...]) -> None:
        for name in names:
            if not self._in_place and (path := self._directory / name).exists():
                self._store.upload(path, name)

    def _places(self) -> Iterator[tuple[str, Path]]:
        """What there is to leave: its key below the attempt's folder, and where it lies."""
        for name, output in self._spec.outputs.items():
            yield f"outputs/{name}", Path(output.path)
        if self._spec.call is not None:
            for name in self._artifacts():
                yield f"outputs/{name}", Path(self._spec.call.artifacts_directory, name)
        yield "files", self._directory / "files"
        yield LEFT, Path(self._spec.working_directory, "outputs")

    def _artifacts(self) -> list[str]:
        path = self._directory / "returned.json"
        if not path.exists():
            return []
        try:
            names = from_json(ReturnedValues, path.read_bytes()).artifacts
            return [check_output_name(name) for name in names]
        except (DocumentError, StoreError) as error:
            raise UserError(f"what the function returned cannot be kept: {error}") from error

    def _left(self, place: str, path: Path) -> Iterator[Brought]:
        """Leave the file or folder at *path*; nothing there is fine."""
        if path.is_file():
            digest = self._kept(place, {"": path})[""]
            yield Brought(place, "", path.stat().st_size, digest)
            return
        if not path.is_dir():
            return
        try:
            tree = read_tree(path)
        except StoreError as error:
            raise UserError(f"{place} cannot be kept: {error}") from error
        digests = self._kept(place, {file.path: Path(file.source) for file in tree.files})
        is_empty = not tree.files and not tree.empty_directories
        folders = ("",) if is_empty and place.startswith("outputs/") else tree.empty_directories
        for folder in () if self._in_place else folders:
            self._store.write("/".join(filter(None, (place, folder, EMPTY_FOLDER))), b"")
        records = [Brought(place, folder) for folder in folders]
        for file in tree.files:
            records.append(Brought(place, file.path, file.size, digests[file.path], file.executable))
        yield from sorted(records, key=lambda record: record.path)

    def _kept(self, place: str, files: Mapping[str, Path]) -> dict[str, str]:
        """Bring *files* to their paths below *place* in the store; the SHA-256 of each by its path."""
        if not self._in_place:
            return self._uploaded(place, files)
        if place == LEFT and files:
            self._store.upload(Path(self._spec.working_directory, "outputs"), place)
        return self._hashed(files)

    def _hashed(self, files: Mapping[str, Path]) -> dict[str, str]:
        def digest_of(path: Path, checkpoint: Callable[[], None]) -> str:
            return sha256_file(path, lambda size: checkpoint())

        with closing(in_order(digest_of, files.values(), default_threads())) as digests:
            return dict(zip(files, digests, strict=True))

    def _uploaded(self, place: str, files: Mapping[str, Path]) -> dict[str, str]:
        # On demand: a machine that has the datastore mounted can do without all of this.
        from airflow_mlpipe.store.transfer.origin import LocalFile, Origin
        from airflow_mlpipe.store.transfer.upload import upload_files

        origins = {path: LocalFile(source) for path, source in files.items()}
        digests: dict[Origin, str] = {}
        filesystem, root = opened(access_to(self._store.url))
        above = f"{root.rstrip('/')}/{place}"
        upload_files(
            filesystem,
            [(origin, f"{above}/{path}" if path else above) for path, origin in origins.items()],
            Progress(f"uploading {place}", self._say),
            seen=digests.__setitem__,
        )
        return {path: digests[origin] for path, origin in origins.items()}
