"""Where copies go: a folder of this machine, or a place on a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from airflow_mlpipe.access import Access, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.layout import EMPTY_FOLDER
from airflow_mlpipe.store.parallel import in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.origin import LocalFile, Origin, ServedFile
from airflow_mlpipe.store.transfer.presence import absent
from airflow_mlpipe.store.transfer.remote_file import RemoteFile, service_of
from airflow_mlpipe.store.transfer.server import THREADS
from airflow_mlpipe.store.transfer.servers import server_of
from airflow_mlpipe.store.transfer.upload import upload_files
from airflow_mlpipe.store.transient import persistently
from airflow_mlpipe.store.tree import TreeFile, copy, walk


@dataclass(frozen=True)
class CopyReport:
    """What was done, or would be.

    ``copied`` and ``skipped`` count files; ``bytes`` are those of the copied. ``deleted`` are the paths,
    below the destination, that went because no source has them. ``server_side`` says whether no byte passed
    through this machine.
    """

    copied: int
    skipped: int
    deleted: tuple[str, ...]
    bytes: int
    server_side: bool


@dataclass(frozen=True)
class Means:
    """What a copy is made with; *pause* is given the seconds between two tries."""

    digests: RemoteDigests
    progress: Progress
    pause: Callable[[float], object]


class FolderEnd:
    """The folder *root* of this machine, or a file for the path "". *there* are the paths of its files."""

    def __init__(self, root: Path, means: Means) -> None:
        self._root = root
        self._means = means
        files = walk(root) if root.is_dir() else ()
        self.there = {entry.path for entry in files if isinstance(entry, TreeFile)}

    def receive(self, wanted: Mapping[str, Origin], *, dry_run: bool) -> CopyReport:
        """Bring the files that are wanted at their paths; raises StoreError."""
        needed = {path: origin for path, origin in wanted.items() if not self._has(path, origin)}
        report = _report(needed.values(), len(wanted), server_side=False)
        if not dry_run:
            self._download(needed)
            self._copy(needed)
        return report

    def delete(self, paths: Collection[str]) -> None:
        """Delete files, and the folders that are empty then; raises StoreError.

        Of a path that goes through a link, only the link goes: what it leads to has a path of its own.
        """
        for path in paths:
            file = self._link_on_the_way(path) or self._root / path
            try:
                file.unlink(missing_ok=True)
                for folder in file.parents:
                    if folder == self._root or not folder.is_dir() or any(folder.iterdir()):
                        break
                    folder.rmdir()
            except OSError as error:
                raise StoreError(f"{file} cannot be deleted: {error.strerror}; check its folder") from error

    def _link_on_the_way(self, path: str) -> Path | None:
        """The first folder on the way to *path* that is a link."""
        folders = [self._root / folder for folder in reversed(PurePosixPath(path).parents[:-1])]
        return next((folder for folder in folders if folder.is_symlink()), None)

    def _download(self, needed: Mapping[str, Origin]) -> None:
        means = self._means
        served = {path: origin for path, origin in needed.items() if isinstance(origin, ServedFile)}
        marks = {path for path in served if _is_mark(path)}
        downloader = Downloader(None, means.digests, means.progress, pause=means.pause)
        downloader.fetch(
            [(served[path].file, self._root / path) for path in served if path not in marks], own=True
        )
        for path in marks:
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)

    def _copy(self, needed: Mapping[str, Origin]) -> None:
        for path, origin in needed.items():
            if isinstance(origin, LocalFile):
                target = self._root / path
                try:
                    with arriving(target) as temporary:
                        copy(origin.path, temporary, Progress.silent())
                except OSError as error:
                    raise StoreError(f"{origin.path} cannot be copied to {target}: {error}") from error
                self._means.progress.advance(origin.size())

    def _has(self, path: str, origin: Origin) -> bool:
        target = self._root / path
        if _is_mark(path):
            return target.parent.is_dir()
        if not target.is_file() or target.stat().st_size != origin.size():
            return False
        if isinstance(origin, LocalFile) and os.access(target, os.X_OK) != os.access(origin.path, os.X_OK):
            return False
        digest = origin.find_digest()
        return digest is not None and digest == sha256_file(target)


class ServerEnd:
    """A folder on a server, or a file for the path "". *there* are the paths of its files."""

    def __init__(self, access: Access, means: Means) -> None:
        filesystem, self._root = opened(access)
        self._server = server_of(filesystem)
        self._means = means
        listing = list_remote(access, literally=True)
        paths = [listing.path_of(file) for file in listing.files]
        self._files = dict(zip(paths, remote_files(listing.url, listing.files), strict=True))
        self.there = {file.path for file in listing.files} - {""}
        self._is_file = listing.is_file

    def receive(self, wanted: Mapping[str, Origin], *, dry_run: bool) -> CopyReport:
        """As for a folder."""
        if self._is_file and "" not in wanted:
            raise StoreError(f"{self._server.url(self._root)} is a file; choose a folder, or delete it")
        if self.there and "" in wanted:
            raise StoreError(f"{self._server.url(self._root)} is a folder; name the file in it")
        digests = self._means.digests
        files = [(origin, self._path(path)) for path, origin in wanted.items()]
        changed = [(origin, path) for origin, path in files if not self._is_same(origin, path)]
        needed = absent(self._server, changed, self._files, digests)
        inside = [(origin, path) for origin, path in needed if self._is_inside(origin)]
        through = [(origin, path) for origin, path in needed if not self._is_inside(origin)]
        is_served = all(self._is_inside(origin) for origin in wanted.values())
        if not dry_run:
            self._copy(cast("list[tuple[ServedFile, str]]", inside))
            upload_files(
                self._server.filesystem,
                through,
                self._means.progress,
                digests,
                seen=self._learn,
                pause=self._means.pause,
            )
        return _report([origin for origin, _ in needed], len(wanted), server_side=is_served)

    def delete(self, paths: Collection[str]) -> None:
        """As for a folder."""

        def deleted(path: str, checkpoint: Callable[[], None]) -> None:
            checkpoint()
            persistently(lambda: self._server.delete(self._path(path)), self._means.pause)

        with closing(in_order(deleted, paths, THREADS)) as done:
            for _ in done:
                pass

    def _copy(self, files: list[tuple[ServedFile, str]]) -> None:
        """Let the service copy its own *files*."""

        def copied(item: tuple[ServedFile, str], checkpoint: Callable[[], None]) -> str | None:
            checkpoint()
            origin, path = item
            size, stamp = origin.size(), origin.file.stamp
            return persistently(lambda: self._server.copy(origin.path, path, size, stamp), self._means.pause)

        self._means.progress.expect(sum(origin.size() for origin, _ in files))
        with closing(in_order(copied, files, THREADS)) as stamps:
            for (origin, path), stamp in zip(files, stamps, strict=True):
                self._means.progress.advance(origin.size())
                copy_ = self._file(path, origin.size(), stamp)
                self._means.digests.learn_copy(copy_, origin.file)
                if origin.digest is not None:
                    self._means.digests.learn(copy_, origin.digest)

    def _learn(self, origin: Origin, digest: str) -> None:
        if isinstance(origin, ServedFile):
            self._means.digests.learn(origin.file, digest)

    def _is_same(self, origin: Origin, path: str) -> bool:
        """Whether what is at *path* is told by the servers themselves to be a copy of *origin*."""
        found = self._files.get(path)
        if found is None or not isinstance(origin, ServedFile) or found.size != origin.size():
            return False
        both = self._server.stamps_are_of_content and origin.server.stamps_are_of_content
        is_alike = both and found.stamp is not None and found.stamp == origin.file.stamp
        return is_alike or self._means.digests.is_copy(found, origin.file)

    def _is_inside(self, origin: Origin) -> bool:
        is_served = isinstance(origin, ServedFile) and origin.server.filesystem == self._server.filesystem
        return is_served and self._server.copies

    def _file(self, path: str, size: int, stamp: str | None) -> RemoteFile:
        service = service_of(self._server.filesystem)
        return RemoteFile(self._server.url(path), size, stamp, service=service)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _report(needed: Collection[Origin], wanted: int, *, server_side: bool) -> CopyReport:
    size = sum(origin.size() for origin in needed)
    return CopyReport(len(needed), wanted - len(needed), (), size, server_side)


def _is_mark(path: str) -> bool:
    return path.rpartition("/")[2] == EMPTY_FOLDER
