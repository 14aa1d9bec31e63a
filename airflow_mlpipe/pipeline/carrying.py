"""Inputs for a machine that shares nothing with this one but the datastore: what it fetches, and whence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import UserError
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.stager import Stager, files_at, inside
from airflow_mlpipe.records import CarriedFile, CarriedInput, DataInPlace
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.layout import copies_key
from airflow_mlpipe.store.sources import Place
from airflow_mlpipe.store.tree import EmptyFolder, walk

log = logging.getLogger(__name__)


@dataclass
class Carrying(Stager):
    """Lists the inputs of *attempt*, which it finds below the folder *inputs* of its machine.

    Data on a disk is read where it lies if it *is_mounted* there under the same path; else it is copied to
    *store*, next to the attempt, and fetched from there. Two disks may have the same path, so the machine is
    told the digest of what it is to find. ``carried``, ``in_place``, ``links`` and ``urls`` are what came of
    it: as a :class:`~airflow_mlpipe.records.Carriage` has them, and the URLs that credentials are needed for.
    """

    attempt: str
    inputs: PurePosixPath
    store: Datastore
    cache: HashCache
    is_mounted: Callable[[Path], bool]
    carried: dict[str, list[CarriedInput]] = field(default_factory=dict)
    in_place: dict[str, DataInPlace] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    urls: set[str] = field(default_factory=set)

    def _note_direct(self, bound: BoundInput, uri: str) -> None:
        path = local_path(uri)
        if path is None:
            self.urls.add(uri)
        elif not self.is_mounted(path):
            raise UserError(
                f"input {bound.name} is opened by the step itself, and lies at {path} on the worker's disk, "
                "which the step does not see; mount or download it, or give the target that disk as a volume"
            )

    def _path(self, bound: BoundInput) -> PurePosixPath:
        whole = bound.source.whole
        if whole is not None and bound.mode == "mount" and bound.query is None:
            path = local_path(whole)
            if path is not None and self.is_mounted(path):
                digest = self._digest(bound, bound.source.places[0], path)
                self.in_place[bound.name] = DataInPlace(str(path), digest)
                return self._linked(bound, PurePosixPath(path))
        root = self.inputs / bound.name
        if bound.query is not None:
            with TemporaryDirectory(prefix="mlpipe-rows-") as folder:
                rows = Path(folder, "rows")
                bound.query.put(rows)
                self.carried[bound.name] = [self._copied(bound, rows, root, "")]
            return self._linked(bound, root)
        places = bound.source.places if bound.source.kind != "missing" else ()
        parts = [self._part(bound, place, root / inside(place, bound)) for place in places]
        self.carried[bound.name] = parts or [CarriedInput(str(root), [])]
        return self._linked(bound, root if whole is None else root / inside(bound.source.places[0], bound))

    def _linked(self, bound: BoundInput, path: PurePosixPath) -> PurePosixPath:
        """The path that the author chose for the input, if he did; it leads to *path*."""
        if bound.path_on_compute is None:
            return path
        self.links[bound.path_on_compute] = str(path)
        return PurePosixPath(bound.path_on_compute)

    def _files_at(self, bound: BoundInput, path: PurePath) -> list[str]:
        target = PurePosixPath(self.links.get(str(path), path))
        if bound.name not in self.carried:
            there = [PurePosixPath(file) for file in files_at(Path(target))]
        else:
            parts = self.carried[bound.name]
            there = [PurePosixPath(part.path, file.path) for part in parts for file in part.files]
        return sorted(str(path / file.relative_to(target)) for file in there)

    def _part(self, bound: BoundInput, place: Place, target: PurePosixPath) -> CarriedInput:
        path, is_own = local_path(place.uri), bound.mode == "download"
        if path is None:
            return replace(self._served(bound, place, target), writable=is_own)
        if self.is_mounted(path):
            listed = _listed(path, f"file://{path}", target)
            return replace(listed, digest=self._digest(bound, place, path), writable=is_own)
        why = "Input %s lies at %s, which the step does not see: it is copied to the datastore first"
        log.info(why, bound.name, path)
        return replace(self._copied(bound, path, target, inside(place, bound)), writable=is_own)

    def _digest(self, bound: BoundInput, place: Place, path: Path) -> str | None:
        """The digest of what lies at *place*, which is *path* here; None when it does not count."""
        source = bound.source
        for reference in source.references:
            if reference.uri == place.uri:
                return reference.digest
        if _counts_unseen(bound):
            return None
        if source.whole is not None:
            return source.digest
        return describe(path, self.cache, self.progress(f"hashing input {bound.name}")).digest

    def _served(self, bound: BoundInput, place: Place, target: PurePosixPath) -> CarriedInput:
        """A place on a server, by the address that needs no name of a datastore."""
        content = self.remote.content(bound, place)
        address = access_to(place.uri).url
        # Files are opened by way of the folders that they lie in.
        self.urls.add(place.uri.rpartition("/")[0] if content.is_file else place.uri)
        files = [
            CarriedFile(
                path,
                f"{address}{file.url.removeprefix(place.uri)}",
                file.size,
                file.digest,
                file.executable,
                file.stamp,
            )
            for path, file in content.files
        ]
        return CarriedInput(str(target), files, list(content.empty_folders), content.digest)

    def _copied(self, bound: BoundInput, path: Path, target: PurePosixPath, below: str) -> CarriedInput:
        """What only this machine's disk has, copied to the store first."""
        key = "/".join(filter(None, (copies_key(self.attempt), bound.name, below)))
        self.store.upload(path, key, self.progress(f"copying input {bound.name}"))
        return _listed(path, self.store.uri(key), target, self.cache)


def _counts_unseen(bound: BoundInput) -> bool:
    """Whether data that no step made counts as what it is called, whatever its content."""
    if bound.dataset is None:
        return bound.pin is not None and bound.pin.kind == "dataset"
    return bound.dataset.identity == "definition"


def _listed(path: Path, url: str, target: PurePosixPath, cache: HashCache | None = None) -> CarriedInput:
    """What lies at *path* here and at *url* as the step's machine knows it; with *cache*, by digests."""

    def digest(source: str | Path) -> str | None:
        return None if cache is None else cache.file_digest(Path(source))

    if not path.is_dir():
        return CarriedInput(str(target), [CarriedFile("", url, path.stat().st_size, digest(path))])
    files, folders = [], []
    for leaf in walk(path):
        if isinstance(leaf, EmptyFolder):
            folders.append(leaf.path)
            continue
        of_leaf = digest(leaf.source)
        files.append(CarriedFile(leaf.path, f"{url}/{leaf.path}", leaf.size, of_leaf, leaf.executable))
    return CarriedInput(str(target), files, folders)
