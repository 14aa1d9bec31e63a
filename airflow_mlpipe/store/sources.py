"""Where the data of an input lies, and what identifies its content."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, TypeVar

from airflow_mlpipe.access import Access, access_to
from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.dataset import Identity
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.store.digest import DirectoryDigest
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe, describe_files
from airflow_mlpipe.store.layout import EMPTY_FOLDER
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import (
    ListedFile,
    RemoteListing,
    file_url,
    is_pattern,
    leaf_of,
    list_remote,
    remote_files,
    shown,
)
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.tree import TreeFile, walk

SourceKind = Literal["file", "directory", "missing"]

FileT = TypeVar("FileT", TreeFile, ListedFile)

_FILE = "file://"


class Selection(Protocol):
    """Which files of a dataset are meant, by their paths; a partition format is one."""

    @property
    def text(self) -> str:
        """The same for people, and for digests."""

    def values(self, path: str) -> object | None:
        """None for the *path* of a file that is not meant."""


@dataclass(frozen=True)
class Place:
    """One file or folder of a source: its URL, and its path inside the folder that the step is shown.

    ``files`` are those that a server listed there; None on this machine, and for outputs of other steps,
    which manifests list.
    """

    path: str
    uri: str
    files: tuple[ListedFile, ...] | None = None


@dataclass(frozen=True)
class Source:
    """Data that a step reads.

    ``places`` holds one place with an empty ``path`` when the data is one file or one folder, else the
    members of a folder that has to be put together. ``undetermined`` says in a few words why ``digest`` does
    not identify the content, None when it does. ``size`` is in bytes, as far as known. ``references`` are the
    outputs of other steps that the data consists of. ``path_digests`` are the paths of a dataset, as its
    author gave them, each with the digest of what is there; none when its content does not count.
    """

    kind: SourceKind
    digest: str
    places: tuple[Place, ...]
    size: int = 0
    undetermined: str | None = None
    references: tuple[PipelineDataReference, ...] = ()
    path_digests: tuple[tuple[str, str], ...] = ()

    @property
    def whole(self) -> str | None:
        """The URL when the data is one file or one folder, else None."""
        return self.places[0].uri if len(self.places) == 1 and not self.places[0].path else None


class SourceFinder:
    """Finds sources. *base* is the folder at which relative paths start.

    What has to be read of remote files is kept in *downloads*, if there is such a cache. *clock* gives
    seconds since the epoch.
    """

    def __init__(
        self,
        base: Path,
        cache: HashCache,
        progress: Callable[[str], Progress] = lambda what: Progress.silent(),
        downloads: DownloadCache | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = base
        self._cache = cache
        self._progress = progress
        self._downloads = downloads
        self._clock = clock

    def reference(self, reference: PipelineDataReference) -> Source:
        """An output of another step; its reference already says what it holds."""
        place = Place("", reference.uri)
        return Source(reference.kind, reference.digest, (place,), reference.size, references=(reference,))

    def dataset(
        self,
        paths: Sequence[str],
        identity: Identity | None,
        who: str,
        selection: Selection | None = None,
    ) -> Source:
        """A dataset, named by paths, URLs or places in datastores; with *selection* only the files it means.

        Raises UserError when a path names nothing, or nothing that is meant, StoreError when a server does
        not answer.
        """
        search = _Search(
            self._base, self._cache, self._progress, self._downloads, self._clock, who, identity, selection
        )
        found = search.dataset(paths)
        if identity != "definition":
            return found
        definition = ["definition", list(paths), *([] if selection is None else [selection.text])]
        return Source(found.kind, _digest(definition), found.places, found.size)


@dataclass(frozen=True)
class _Search:
    """One look for the data of a dataset, which *who* reads."""

    base: Path
    cache: HashCache
    progress: Callable[[str], Progress]
    downloads: DownloadCache | None
    clock: Callable[[], float]
    who: str
    identity: Identity | None
    selection: Selection | None

    def dataset(self, paths: Sequence[str]) -> Source:
        places = [self._resolved(path) for path in paths]
        names = _names(paths, places)
        if len(paths) > 1 and (nameless := {*names} & {"", ".", ".."}):
            path = paths[names.index(min(nameless))]
            raise UserError(
                f"{self.who}: each of several paths is shown under its last name, and {shown(path)!r} has "
                "none; write out the name of the folder"
            )
        found = [
            self._found(place, path, name, f"{name}/" if len(paths) > 1 else "")
            for path, place, name in zip(paths, places, names, strict=True)
        ]
        whole = found[0] if len(found) == 1 else _joined(found, names)
        digests_by_path = ((path, source.digest) for path, source in zip(paths, found, strict=True))
        return dataclasses.replace(whole, path_digests=tuple(digests_by_path))

    def _resolved(self, path: str) -> Path | Access:
        """Where *path* lies: on this machine, or elsewhere."""
        access = access_to(path) if "://" in path and not path.startswith(_FILE) else Access(path)
        if "://" in access.url and not access.url.startswith(_FILE):
            return access
        if self.identity == "etag":
            raise UserError(
                f"{self.who}: {path!r} is a local path, which has no etag; use identity='content'"
            )
        return self.base / access.url.removeprefix(_FILE)

    def _found(self, place: Path | Access, given: str, name: str, prefix: str) -> Source:
        """What lies at *place*: a file that the step is shown as *name*, or a folder, below *prefix*."""
        if isinstance(place, Access):
            return self._remote(place, given, name, prefix)
        if glob.has_magic(given):
            return self._local_glob(place, given, prefix)
        return self._local(place, given, name, prefix)

    def _local(self, path: Path, given: str, name: str, prefix: str) -> Source:
        if not _is_there(path, self.who):
            raise UserError(
                f"{self.who}: nothing is at {given!r} ({path}); correct the path, or put the data there"
            )
        if self.selection is not None and path.is_dir():
            files = [entry for entry in walk(path) if isinstance(entry, TreeFile)]
            return self._local_files(path, path, self._selected_files(files, given, prefix))
        if not self._is_selected(name):
            raise self._nothing_selected(given, name)
        place = (Place("", f"{_FILE}{path.resolve()}"),)
        if self.identity == "definition":
            return Source("directory" if path.is_dir() else "file", "", place)
        content = describe(path, self.cache, self.progress(f"hashing {self.who}"))
        return Source(content.kind, content.digest, place, content.size)

    def _local_glob(self, pattern: Path, given: str, prefix: str) -> Source:
        # The folder above the first part with a wildcard is the root of what the step is shown.
        root = pattern
        while glob.has_magic(str(root)):
            root = root.parent
        found = {Path(name) for name in glob.glob(str(pattern), recursive=True)}  # noqa: PTH207 - takes absolute ones
        files = sorted(
            TreeFile(_utf8(path.relative_to(root).as_posix(), self.who), str(path), path.stat())
            for path in found
            if path.is_file()
        )
        if not files:
            raise UserError(
                f"{self.who}: no file matches {given!r}; correct the pattern, or put the data there"
            )
        return self._local_files(pattern, root, self._selected_files(files, given, prefix))

    def _local_files(self, place: Path, root: Path, files: Sequence[TreeFile]) -> Source:
        """A folder of these *files* of *root*; *place* stands for them in the cache."""
        places = tuple(Place(file.path, f"{_FILE}{Path(file.source).resolve()}") for file in files)
        size = sum(file.size for file in files)
        if self.identity == "definition":
            return Source("directory", "", places, size)
        content = describe_files(place, files, self.cache, self.progress(f"hashing {self.who}"))
        return Source("directory", content.digest, places, content.size)

    def _remote(self, access: Access, given: str, name: str, prefix: str) -> Source:
        try:
            listing = list_remote(access)
        except StoreError as error:
            raise StoreError(f"{self.who}: {error}") from error
        data = tuple(file for file in listing.files if leaf_of(file.path) != EMPTY_FOLDER)
        listing = dataclasses.replace(listing, files=data)
        if not listing.files:
            raise UserError(
                f"{self.who}: nothing is at {shown(given)!r}; correct the URL, or put the data there"
            )
        if listing.is_file:
            if not self._is_selected(name):
                raise self._nothing_selected(given, name)
        else:
            files = self._selected_files(listing.files, given, prefix)
            listing = dataclasses.replace(listing, files=tuple(files))
        if listing.is_file or (self.selection is None and not is_pattern(access.url)):
            places: tuple[Place, ...] = (Place("", access.url, listing.files),)
        else:
            places = tuple(
                Place(file.path, file_url(listing.url, file.path), (file._replace(path=""),))
                for file in listing.files
            )
        kind: SourceKind = "file" if listing.is_file else "directory"
        digest, undetermined = self._identified(listing)
        return Source(kind, digest, places, listing.size, undetermined)

    def _identified(self, listing: RemoteListing) -> tuple[str, str | None]:
        """The digest of remote files, and why it does not identify their content, if it does not."""
        if self.identity == "definition":
            return "", None
        if self.identity == "content":
            return self._content_digest(listing), None
        parts = [[listing.path_of(file), file.size, file.stamp] for file in listing.files]
        return _digest(["remote", parts]), listing.doubt(self.clock())

    def _content_digest(self, listing: RemoteListing) -> str:
        """The same as of these files on a disk."""
        progress = self.progress(f"hashing {self.who}")
        downloader = Downloader(self.downloads, RemoteDigests(self.cache), progress)
        digests = downloader.digests(list(remote_files(listing.url, listing.files)))
        if listing.is_file:
            return digests[0]
        folder = DirectoryDigest()
        for file, digest in zip(listing.files, digests, strict=True):
            folder.add_file(file.path, digest, executable=False)
        return folder.hexdigest()

    def _selected_files(self, files: Sequence[FileT], given: str, prefix: str) -> Sequence[FileT]:
        if self.selection is None:
            return files
        selected = [file for file in files if self._is_selected(prefix + file.path)]
        if files and not selected:
            raise self._nothing_selected(given, prefix + files[0].path)
        return selected

    def _is_selected(self, path: str) -> bool:
        return self.selection is None or self.selection.values(path) is not None

    def _nothing_selected(self, given: str, example: str) -> UserError:
        assert self.selection is not None
        return UserError(
            f"{self.who}: no file of {shown(given)!r} has a path like {self.selection.text!r}; the step is "
            f"shown, for example, {example!r}; correct the format, or begin the dataset at a folder above"
        )


def join_references(members: Mapping[int, Source]) -> Source:
    """The outputs of a mapped step, by map index, as one folder whose entries are called after the indexes.

    There is no entry for an index that is not among *members*, nor for an output that was not written.
    """
    width = max(4, len(str(max(members))))
    return _joined(list(members.values()), [f"{index:0{width}d}" for index in members])


def _joined(sources: Sequence[Source], names: Sequence[str]) -> Source:
    """Several sources as one folder; each keeps its own name in it."""
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"two paths of one dataset end in {min(twice)!r}; give them as two inputs")
    places = tuple(
        Place(f"{name}/{place.path}".rstrip("/"), place.uri, place.files)
        for name, source in zip(names, sources, strict=True)
        for place in source.places
        if source.kind != "missing"
    )
    parts = [[name, source.kind, source.digest] for name, source in zip(names, sources, strict=True)]
    reasons = [source.undetermined for source in sources if source.undetermined]
    return Source(
        "directory",
        _digest(["joined", parts]),
        places,
        sum(source.size for source in sources),
        reasons[0] if reasons else None,
        tuple(reference for source in sources for reference in source.references),
    )


def _is_there(path: Path, who: str) -> bool:
    try:
        return path.exists()
    except OSError as error:  # the name is too long, or a folder on the way cannot be searched
        raise UserError(f"{who}: {path} cannot be looked for: {error.strerror}; correct the path") from error


def _utf8(name: str, who: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{who}: the name {name!r} is not valid UTF-8; rename the file") from error
    return name


def _names(paths: Sequence[str], places: Sequence[Path | Access]) -> list[str]:
    """What each of several paths is called in the folder that they make.

    That is its last name; where two share that, all are called as they lie below the folder that all lie in.
    Patterns have names of their own.
    """
    leaves = [_leaf(path, place) for path, place in zip(paths, places, strict=True)]
    if len({*leaves}) == len(leaves):
        return leaves
    plain = [leaf == leaf_of(path) for path, leaf in zip(paths, leaves, strict=True)]
    parts = [shown(path).rstrip("/").split("/") for path in paths]
    levels = zip(*(part[:-1] for part in itertools.compress(parts, plain)), strict=False)
    shared = len(list(itertools.takewhile(lambda level: len({*level}) == 1, levels)))
    names = [
        "/".join(part[shared:]) if is_plain else leaf
        for part, leaf, is_plain in zip(parts, leaves, plain, strict=True)
    ]
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    leads_out = any({"", ".", ".."} & {*name.split("/")} for name in names)
    return leaves if leads_out or folders & {*names} else names


def _leaf(path: str, place: Path | Access) -> str:
    if glob.has_magic(path) if isinstance(place, Path) else is_pattern(place.url):
        return hashlib.sha256(path.encode()).hexdigest()[:8]
    return leaf_of(path)


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()
