"""Where the data of an input lies, and what identifies its content."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_mlpipe.access import filesystem
from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.dataset import Identity
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.store.digest import sha256_stream
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe, describe_files
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import TreeFile

SourceKind = Literal["file", "directory", "missing"]

# What servers call the identity of an object's bytes, the most certain first.
_ETAGS = ("version_id", "VersionId", "ETag", "etag", "content_md5", "md5Hash", "checksum", "generation")


@dataclass(frozen=True)
class Place:
    """One file or folder of a source: its URL, and its path inside the folder that the step is shown."""

    path: str
    uri: str


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
    """Finds sources. *base* is the folder at which relative paths start."""

    def __init__(
        self,
        base: Path,
        cache: HashCache,
        progress: Callable[[str], Progress] = lambda what: Progress.silent(),
    ) -> None:
        self._base = base
        self._cache = cache
        self._progress = progress

    def reference(self, reference: PipelineDataReference) -> Source:
        """An output of another step; its reference already says what it holds."""
        place = Place("", reference.uri)
        return Source(reference.kind, reference.digest, (place,), reference.size, references=(reference,))

    def dataset(self, paths: Sequence[str], identity: Identity | None, who: str) -> Source:
        """A dataset, named by paths or URLs. Raises UserError when a path names nothing, StoreError when the
        server does not answer."""
        if identity == "definition":
            found = self._find(paths, who, digests=False)
            definition = json.dumps(["definition", list(paths)]).encode()
            return Source(found.kind, hashlib.sha256(definition).hexdigest(), found.places, found.size)
        if identity == "etag" and (local := [path for path in paths if _is_local(path)]):
            raise UserError(f"{who}: {local[0]!r} is a local path, which has no etag; use identity='content'")
        return self._find(paths, who, digests=True, content_of_remote=identity == "content")

    def _find(
        self, paths: Sequence[str], who: str, *, digests: bool, content_of_remote: bool = False
    ) -> Source:
        found = []
        for path in paths:
            if not _is_local(path):
                found.append(_remote(path, who, content=content_of_remote))
            elif glob.has_magic(path):
                found.append(self._local_glob(path, who, digests=digests))
            else:
                found.append(self._local(self._absolute(path), path, who, digests=digests))
        whole = found[0] if len(found) == 1 else _joined(found, [_leaf(path) for path in paths])
        digests_by_path = ((path, source.digest) for path, source in zip(paths, found, strict=True))
        return dataclasses.replace(whole, path_digests=tuple(digests_by_path))

    def _absolute(self, path: str) -> Path:
        return self._base / path.removeprefix("file://")

    def _local(self, path: Path, given: str, who: str, *, digests: bool) -> Source:
        if not _is_there(path, who):
            raise UserError(
                f"{who}: nothing is at {given!r} ({path}); correct the path, or put the data there"
            )
        place = (Place("", f"file://{path.resolve()}"),)
        if not digests:
            return Source("directory" if path.is_dir() else "file", "", place)
        content = describe(path, self._cache, self._progress(f"hashing {who}"))
        return Source(content.kind, content.digest, place, content.size)

    def _local_glob(self, pattern: str, who: str, *, digests: bool) -> Source:
        absolute = str(self._absolute(pattern))
        # The folder above the first part with a wildcard is the root of what the step is shown.
        root = Path(absolute)
        while glob.has_magic(str(root)):
            root = root.parent
        found = {Path(name) for name in glob.glob(absolute, recursive=True)}  # noqa: PTH207 - takes absolute ones
        files = sorted(
            TreeFile(_utf8(path.relative_to(root).as_posix(), who), str(path), path.stat())
            for path in found
            if path.is_file()
        )
        if not files:
            raise UserError(f"{who}: no file matches {pattern!r}; correct the pattern, or put the data there")
        places = tuple(Place(file.path, f"file://{Path(file.source).resolve()}") for file in files)
        size = sum(file.size for file in files)
        if not digests:
            return Source("directory", "", places, size)
        progress = self._progress(f"hashing {who}")
        content = describe_files(Path(absolute), files, self._cache, progress)
        return Source("directory", content.digest, places, content.size)


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
        Place(f"{name}/{place.path}".rstrip("/"), place.uri)
        for name, source in zip(names, sources, strict=True)
        for place in source.places
        if source.kind != "missing"
    )
    parts = [[name, source.kind, source.digest] for name, source in zip(names, sources, strict=True)]
    reasons = [source.undetermined for source in sources if source.undetermined]
    return Source(
        "directory",
        hashlib.sha256(json.dumps(["joined", parts]).encode()).hexdigest(),
        places,
        sum(source.size for source in sources),
        reasons[0] if reasons else None,
        tuple(reference for source in sources for reference in source.references),
    )


def _remote(url: str, who: str, *, content: bool) -> Source:
    """Remote files, identified by what their server says of them, with *content* by their bytes."""
    try:
        opened, root = filesystem(url)
        if glob.has_magic(url):
            found = opened.glob(root, detail=True)
            while glob.has_magic(root):
                root = root.rpartition("/")[0]
        else:
            found = opened.find(root, detail=True)
        files = {path: info for path, info in sorted(found.items()) if info.get("type") != "directory"}
        if not files:
            raise UserError(f"{who}: nothing is at {url!r}; correct the URL, or put the data there")
        parts, without = [], None
        for path, info in files.items():
            tag = _bytes_digest(opened, path) if content else _etag(info)
            without = path if tag is None else without
            parts.append([path, info.get("size"), tag])
    except (UserError, StoreError):
        raise
    except Exception as error:
        raise StoreError(f"{who}: {url} cannot be listed: {type(error).__name__}: {error}") from error
    is_file = list(files) == [root.rstrip("/")]
    return Source(
        "file" if is_file else "directory",
        hashlib.sha256(json.dumps(["remote", parts], default=str).encode()).hexdigest(),
        (Place("", url),)
        if not glob.has_magic(url)
        else tuple(Place(path[len(root) :].lstrip("/"), opened.unstrip_protocol(path)) for path in files),
        sum(info.get("size") or 0 for info in files.values()),
        None if without is None else f"the server gives no etag for {without}; use identity='content'",
    )


def _etag(info: dict[str, Any]) -> str | None:
    for key in _ETAGS:
        if info.get(key):
            return f"{key}={info[key]}"
    return None


def _bytes_digest(opened: Any, path: str) -> str:
    with opened.open(path, "rb") as file:
        return sha256_stream(file)


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


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


def _leaf(path: str) -> str:
    if glob.has_magic(path):
        return hashlib.sha256(path.encode()).hexdigest()[:8]
    return path.rstrip("/").rpartition("/")[2]
