"""A datastore on a local or mounted disk."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import layout
from airflow_mlpipe.store.atomic import arriving, is_temporary, remove, temporary_beside, write_through
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import TreeFile, copy, walk

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalFolder:
    """A folder of plain files, written by temporary file and rename.

    *link* makes a hard link, which is how a file is created exclusively and with all its bytes at once. On
    a disk without hard links a lock takes its place.
    """

    def __init__(self, root: Path, *, link: Callable[[Path, Path], None] = os.link) -> None:
        self.url = f"file://{root}"
        self._root = root
        self._link = link

    def local_path(self, key: str) -> Path:
        return self._root / key

    def read(self, key: str) -> bytes | None:
        with self._reporting("read", key):
            try:
                return self.local_path(key).read_bytes()
            except _ABSENT:
                return None

    def write(self, key: str, data: bytes) -> None:
        with self._reporting("write", key), arriving(self.local_path(key)) as temporary:
            write_through(temporary, data)

    def create(self, key: str, data: bytes) -> bool:
        path = self.local_path(key)
        with self._reporting("create", key), temporary_beside(path) as temporary:
            write_through(temporary, data)
            try:
                self._link(temporary, path)
            except FileExistsError:
                if path.is_dir() or (path.is_symlink() and not path.exists()):
                    raise  # it cannot be read as a file, so no caller would ever see it go
                # A file server may have made our link although its answer was lost.
                return temporary.stat().st_nlink > 1
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                return self._create_under_lock(key, temporary)
            return True

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        with self._reporting("change", key), self._lock(key):
            if self.read(key) != expected:
                return False
            if data is None:
                self.local_path(key).unlink()
            else:
                self.write(key, data)
            return True

    def weakness(self) -> None:
        return None

    def delete(self, key: str) -> bool:
        with self._reporting("delete", key):
            try:
                self.local_path(key).unlink()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def delete_tree(self, prefix: str) -> None:
        with self._reporting("delete", prefix):
            remove(self.local_path(prefix))

    def exists(self, key: str) -> bool:
        with self._reporting("look for", key):
            return self.local_path(key).is_file()

    def age(self, key: str) -> float | None:
        path = self.local_path(key)
        with self._reporting("tell the age of", key):
            try:
                # Opened, because a client of a network disk asks its server for the times only then.
                with path.open("rb") as file, temporary_beside(path) as probe:
                    probe.touch(exist_ok=False)
                    return probe.stat().st_mtime - os.fstat(file.fileno()).st_mtime
            except _ABSENT:
                return None

    def written_at(self, key: str) -> float | None:
        with self._reporting("tell the age of", key):
            try:
                return self.local_path(key).stat().st_mtime
            except _ABSENT:
                return None

    def files(self, prefix: str) -> Iterator[StoredFile]:
        with self._reporting("list", prefix):
            yield from self._found(prefix)

    def digest(self, key: str) -> str | None:
        with self._reporting("read", key):
            try:
                return sha256_file(self.local_path(key))
            except _ABSENT:
                return None

    def upload(self, source: Path, key: str, progress: Progress) -> None:
        destination = self.local_path(key)
        with self._reporting("upload to", key):
            if destination.exists() and destination.samefile(source):
                return
            with arriving(destination) as temporary:
                copy(source, temporary, progress)
                if temporary.is_dir() or destination.is_dir():
                    remove(destination)

    def download(self, key: str, destination: Path, progress: Progress) -> None:
        with self._reporting("download", key), arriving(destination) as temporary:
            copy(self.local_path(key), temporary, progress)

    def _found(self, prefix: str) -> Iterator[StoredFile]:
        path = self.local_path(prefix)
        # A link here would make files outside the store look like files of the store.
        if prefix and path.is_symlink():
            return
        if path.is_file():
            yield StoredFile(prefix, path.stat().st_size)
        elif path.is_dir():
            below = f"{prefix}/" if prefix else ""
            for entry in walk(path, refuse=lambda refusal: None, skip=is_temporary):
                if isinstance(entry, TreeFile):
                    yield StoredFile(below + entry.path, entry.size)

    def _create_under_lock(self, key: str, temporary: Path) -> bool:
        with self._lock(key):
            if self.exists(key):
                return False
            temporary.replace(self.local_path(key))
            return True

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        path = self.local_path(layout.lock_key(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _reporting(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot {verb} {self.url}/{key}: {error}; check that the disk is mounted, has room, "
                "and that this user may do it"
            ) from error
