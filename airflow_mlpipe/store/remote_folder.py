"""A datastore behind an fsspec driver: object stores, and memory for tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from airflow_mlpipe.access import Access, access_to, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving, is_temporary, temporary_name
from airflow_mlpipe.store.digest import sha256_stream
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import EMPTY_FOLDER, check_key
from airflow_mlpipe.store.objects.choice import object_service
from airflow_mlpipe.store.objects.contract import ObjectService
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.origin import LocalFile
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.transfer.servers import OneServer, server_of
from airflow_mlpipe.store.transfer.upload import upload_files
from airflow_mlpipe.store.tree import read_tree

# Memory is shared by the threads of this process only.
_memory_lock = threading.RLock()


class RemoteFolder:
    """A prefix of an object store.

    ``create`` and ``swap`` are as exact as the service makes them, see :mod:`airflow_mlpipe.store.objects`;
    :meth:`weakness` tells when they are not. It may be used on both sides of a fork.
    """

    def __init__(self, url: str, storage_options: dict[str, Any]) -> None:
        self.url = url
        self._access = Access(url, storage_options) if storage_options else access_to(url)
        is_memory = url.startswith("memory://")
        self._lock: AbstractContextManager[Any] = _memory_lock if is_memory else nullcontext()
        self._is_memory = is_memory
        self._open()

    def local_path(self, key: str) -> None:
        return None

    def read(self, key: str) -> bytes | None:
        with self._reporting("read", key):
            found = self._objects.read(self._path(key))
            return None if found is None else found.data

    def write(self, key: str, data: bytes) -> None:
        with self._reporting("write", key):
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with self._reporting("create", key), self._lock:
            return self._objects.create(path, data) or self._is(path, data)

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        path = self._path(key)
        with self._reporting("change", key), self._lock:
            found = self._objects.read(path)
            if found is None or found.data != expected:
                return False
            if data is None:
                return self._objects.delete(path, found.version) or self._is(path, None)
            return self._objects.replace(path, found.version, data) or self._is(path, data)

    def weakness(self) -> str | None:
        """Why two machines may both believe that their change was done; None when they cannot."""
        with self._reporting("try out", ""):
            return None if self._is_memory else self._objects.weakness()

    def delete(self, key: str) -> bool:
        if not self.exists(key):
            return False
        with self._reporting("delete", key):
            try:
                self._fs.rm_file(self._path(key))
            except FileNotFoundError:
                return False
            return True

    def delete_tree(self, prefix: str) -> None:
        with self._reporting("delete", prefix):
            self._fs.invalidate_cache()
            self._objects.delete_all(self._path(prefix))

    def exists(self, key: str) -> bool:
        with self._reporting("look for", key):
            info = self._info(key)
            return info is not None and info["type"] == "file"

    def age(self, key: str) -> float | None:
        if (written := self.written_at(key)) is None:
            return None
        probe = str(PurePosixPath(key).with_name(temporary_name()))
        self.write(probe, b"")
        try:
            now = self.written_at(probe)
        finally:
            self.delete(probe)
        return None if now is None else now - written

    def written_at(self, key: str) -> float | None:
        with self._reporting("tell the age of", key):
            if not self.exists(key):
                return None
            try:
                told: datetime = self._fs.modified(self._path(key))
            except (FileNotFoundError, NotImplementedError):
                return None
            return (told if told.tzinfo else told.replace(tzinfo=timezone.utc)).timestamp()

    def files(self, prefix: str) -> Iterator[StoredFile]:
        with self._reporting("list", prefix):
            found = [file for file in self._found(prefix) if _is_of_the_store(file.key.rpartition("/")[2])]
        yield from sorted(found, key=lambda file: file.key)

    def digest(self, key: str) -> str | None:
        with self._reporting("read", key), self._lock:
            # Drivers open the prefix of other files as if it were an empty one.
            if not self.exists(key):
                return None
            try:
                with self._fs.open(self._path(key), "rb") as file:
                    return sha256_stream(file)
            except (FileNotFoundError, IsADirectoryError):
                return None

    def upload(self, source: Path, key: str, progress: Progress) -> None:
        with self._reporting("upload to", key):
            files, marks = _contents(source, key)
            there = {file.key: file for file in self._found(key)}
            if there.keys() & _folders(files) or files.keys() & _folders(there):
                # A file gives way to a folder, or the other way round, and most servers cannot have both.
                self.delete_tree(key)
                there = {}
            upload_files(
                self._fs,
                [(LocalFile(path), self._path(place)) for place, path in files.items()],
                progress,
                there={self._path(place): self._remote_file(file) for place, file in there.items()},
            )
            for mark in marks:
                self.write(mark, b"")
            for surplus in there.keys() - files.keys() - marks:
                self.delete(surplus)

    def download(self, key: str, destination: Path, progress: Progress) -> None:
        with self._reporting("download", key), self._lock:
            found = self._found(key)
            if not found:
                raise StoreError(
                    f"there is nothing at {self.url}/{key} to download; run the step that makes it"
                )
            with arriving(destination) as temporary:
                self._get(key, found, temporary, progress)

    def _get(self, key: str, found: list[StoredFile], destination: Path, progress: Progress) -> None:
        wanted = []
        for file in found:
            # The keys come from outside: ".." in one of them would lead out of the destination.
            inside = file.key != key and check_key(file.key.removeprefix(f"{key}/"))
            target = destination / inside if inside else destination
            if target.name == EMPTY_FOLDER:
                target.parent.mkdir(parents=True, exist_ok=True)
            else:
                wanted.append((self._remote_file(file), target))
        servers = OneServer(server_of(self._fs), self.url, self._root)
        Downloader(None, RemoteDigests(HashCache(None)), progress, servers=servers).fetch(wanted, own=True)

    def _remote_file(self, file: StoredFile) -> RemoteFile:
        return RemoteFile(f"{self.url}/{file.key}", file.size, None)

    def _found(self, prefix: str) -> list[StoredFile]:
        """Everything below *prefix*, the marks of empty folders included."""
        # Another process may have written since the driver last listed.
        self._fs.invalidate_cache()
        return [
            StoredFile(name.removeprefix(f"{self._root}/"), size)
            for name, size in self._objects.listed(self._path(prefix)).items()
            # Some tools leave empty objects named like folders.
            if not name.endswith("/")
        ]

    def _is(self, path: str, data: bytes | None) -> bool:
        """Whether *data* are at *path*: what was refused may be the repetition of what was done."""
        found = self._objects.read(path)
        return (None if found is None else found.data) == data

    def _info(self, key: str) -> dict[str, Any] | None:
        # Another process may have written since the driver last listed.
        self._fs.invalidate_cache()
        try:
            info: dict[str, Any] = self._fs.info(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info

    @property
    def _fs(self) -> Any:
        # The connections of a driver do not survive a fork.
        if self._pid != os.getpid():
            self._open()
        return self._driver

    @property
    def _objects(self) -> ObjectService:
        return object_service(self._fs, self._root)

    def _open(self) -> None:
        self._driver, root = opened(self._access)
        self._root = root.rstrip("/")
        self._pid = os.getpid()

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")

    @contextmanager
    def _reporting(self, verb: str, key: str) -> Iterator[None]:
        # Drivers raise whatever their client library raises.
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(
                f"cannot {verb} {self.url}/{key}: {str(error) or type(error).__name__}; check "
                "the credentials, the network and the permissions"
            ) from error


def _contents(source: Path, key: str) -> tuple[dict[str, Path], set[str]]:
    """The files at *source* by their keys when they lie at *key*, and the marks of empty folders."""
    if not source.is_dir():
        return {key: source}, set()
    tree = read_tree(source)
    files = {check_key(f"{key}/{file.path}"): Path(file.source) for file in tree.files}
    marks = {f"{key}/{folder}/{EMPTY_FOLDER}" for folder in tree.empty_directories}
    return files, marks if files or marks else {f"{key}/{EMPTY_FOLDER}"}


def _folders(keys: Iterable[str]) -> set[str]:
    """The folders that files with these *keys* lie in."""
    return {str(folder) for key in keys for folder in PurePosixPath(key).parents}


def _is_of_the_store(name: str) -> bool:
    # A process that was killed between making a probe and deleting it leaves a temporary file.
    return name != EMPTY_FOLDER and not is_temporary(name)
