"""Inputs that lie on servers: which files they are, and bringing them to this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from airflow_mlpipe.access import access_to, filesystem
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.folder_files import sealed_entries
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.digest import DirectoryDigest
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.fetching import local_path
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import EMPTY_FOLDER
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files
from airflow_mlpipe.store.sources import Place
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.remote_file import RemoteFile, service_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteContent:
    """What a place holds: files by their paths below it, "" for a place that is one file.

    ``digest`` is what the folder must have; None when each file says by itself what it must be.
    """

    files: Sequence[tuple[str, RemoteFile]]
    empty_folders: Sequence[str] = ()
    digest: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is one file, not a folder."""
        return len(self.files) == 1 and not self.files[0][0]

    def found_digest(self, digests: Sequence[str]) -> str:
        """The digest of a folder, when its files have these *digests* and none is executable."""
        leaves = [
            *((path, digest) for (path, _), digest in zip(self.files, digests, strict=True)),
            *((path, "") for path in self.empty_folders),
        ]
        folder = DirectoryDigest()
        for path, digest in sorted(leaves):
            if digest:
                folder.add_file(path, digest, executable=False)
            else:
                folder.add_empty_folder(path)
        return folder.hexdigest()


class RemoteInputs:
    """Brings remote data here, and sees that it is what was fingerprinted.

    Of a dataset, files must be as their server listed them. Of an output of a step, every byte is compared
    with the digest in its manifest; without one, with the digest of the whole. *downloads* is the cache
    through which files come, if there is one.
    """

    def __init__(
        self,
        stores: Stores,
        cache: HashCache,
        downloads: DownloadCache | None,
        progress: Callable[[str], Progress],
    ) -> None:
        self._stores = stores
        self._digests = RemoteDigests(cache)
        self._downloads = downloads
        self._progress = progress

    def fetch(self, bound: BoundInput, places: Sequence[tuple[Place, Path]], *, own: bool) -> None:
        """Put each of *places* of an input at its path; with *own* as writable copies, else read-only.

        Raises StoreError when something cannot be brought, or is not what it must be.
        """
        contents = [(self.content(bound, place), target) for place, target in places]
        wanted = [(file, target / path) for content, target in contents for path, file in content.files]
        downloader = Downloader(self._downloads, self._digests, self._progress(f"fetching {bound.name}"))
        digests = downloader.fetch(wanted, own=own)
        for content, target in contents:
            found, digests = digests[: len(content.files)], digests[len(content.files) :]
            _refuse_damage(bound, content, found)
            if not content.is_file:
                for folder in ("", *content.empty_folders):
                    (target / folder).mkdir(parents=True, exist_ok=True)

    def urls(self, bound: BoundInput, place: Place) -> list[str]:
        """The URLs of the files at *place*, in order of their paths."""
        return [file.url for _, file in self.content(bound, place).files]

    def content(self, bound: BoundInput, place: Place) -> RemoteContent:
        """What lies at *place*; StoreError when that cannot be told."""
        if place.files is not None:
            paths = [file.path for file in place.files]
            return RemoteContent(list(zip(paths, remote_files(place.uri, place.files), strict=True)))
        reference = next((known for known in bound.source.references if known.uri == place.uri), None)
        if reference is None:
            return _listed(place.uri, bound.source.digest if bound.source.whole is not None else None)
        if reference.kind == "file":
            file = RemoteFile(place.uri, reference.size, None, reference.digest, service=_service(place.uri))
            return RemoteContent([("", file)])
        return self._sealed(reference) or _listed(reference.uri, reference.digest)

    def _sealed(self, reference: PipelineDataReference) -> RemoteContent | None:
        """A folder as its manifest has it; None when there is none."""
        entries = sealed_entries(reference, self._stores)
        if entries is None:
            return None
        folder, service = DirectoryDigest(), _service(reference.uri)
        files = []
        for entry in entries:
            folder.add_file(entry.path, entry.digest, executable=entry.executable)
            url = f"{reference.uri}/{entry.path}"
            file = RemoteFile(url, entry.size, None, entry.digest, entry.executable, service)
            files.append((entry.path, file))
        # A manifest lists files. If they are not all that was hashed, there are empty folders besides.
        is_all = folder.hexdigest() == reference.digest
        return RemoteContent(files, () if is_all else _listed(reference.uri, None).empty_folders)


def _listed(url: str, digest: str | None) -> RemoteContent:
    """What a server has at *url*, which must have *digest*, if that is known."""
    listing = list_remote(access_to(url))
    if not listing.files:
        raise StoreError(f"nothing is at {url} any more; run the step that makes it again")
    files = [file for file in listing.files if not _is_mark(file.path)]
    found = list(zip([file.path for file in files], remote_files(url, files), strict=True))
    if listing.is_file:
        return RemoteContent([("", replace(found[0][1], digest=digest))])
    marks = (str(PurePosixPath(file.path).parent) for file in listing.files if _is_mark(file.path))
    empty_folders = [path for path in marks if path != "."]
    return RemoteContent(found, empty_folders, digest)


def _refuse_damage(bound: BoundInput, content: RemoteContent, digests: Sequence[str]) -> None:
    if content.digest is None or content.found_digest(digests) == content.digest:
        return
    size = sum(file.size or 0 for _, file in content.files)
    if size != bound.source.size and bound.source.whole is not None:
        raise StoreError(f"input {bound.name} has {size} bytes instead of {bound.source.size}")
    # Object stores keep no executable bits, which the digest of a folder counts.
    log.warning(
        "Input %s could not be compared with its digest: which of its files are executable is not known, "
        "because no manifest lists them",
        bound.name,
    )


def _is_mark(path: str) -> bool:
    return path.rpartition("/")[2] == EMPTY_FOLDER


def _service(url: str) -> str:
    return service_of(filesystem(url)[0])


def is_remote(place: Place) -> bool:
    """Whether a server has what lies at *place*."""
    return local_path(place.uri) is None
