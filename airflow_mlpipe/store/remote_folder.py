"""A datastore behind an fsspec driver: object stores, and memory for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.access import Access, filesystem, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving, is_temporary, temporary_name
from airflow_mlpipe.store.digest import sha256_stream
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import read_tree

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

# Stands for an empty folder, which object stores do not know; it is never listed.
_EMPTY = ".mlpipe-empty"

# Memory is shared by the threads of this process only.
_memory_lock = threading.RLock()


class RemoteFolder:
    """A prefix of an object store.

    ``create`` is a conditional PUT where the driver has one, and otherwise looks first. ``swap`` reads,
    compares and writes: between two machines within the same moment both may believe that they won. Only
    memory is exact.
    """

    def __init__(self, url: str, storage_options: dict[str, Any]) -> None:
        self.url = url
        self._fs, root = filesystem(url) if not storage_options else opened(Access(url, storage_options))
        self._root = str(root).rstrip("/")
        is_memory = url.startswith("memory://")
        self._lock: AbstractContextManager[Any] = _memory_lock if is_memory else nullcontext()

    def local_path(self, key: str) -> None:
        return None

    def read(self, key: str) -> bytes | None:
        with self._reporting("read", key):
            try:
                return bytes(self._fs.cat_file(self._path(key)))
            except (FileNotFoundError, IsADirectoryError):
                return None

    def write(self, key: str, data: bytes) -> None:
        with self._reporting("write", key):
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        with self._reporting("create", key), self._lock:
            if self.exists(key):
                return False
            try:
                self._fs.pipe_file(self._path(key), data, mode="create")
            except Exception:
                # Either somebody was quicker, or the reply to our own successful PUT was lost on the way.
                present = self.read(key)
                if present is None:
                    raise
                return present == data
            return True

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        with self._lock:
            if self.read(key) != expected:
                return False
            if data is None:
                return self.delete(key)
            self.write(key, data)
            return True

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
            try:
                self._fs.rm(self._path(prefix), recursive=True)
            except FileNotFoundError:
                return

    def exists(self, key: str) -> bool:
        with self._reporting("look for", key):
            info = self._info(key)
            return info is not None and info["type"] == "file"

    def age(self, key: str) -> float | None:
        with self._reporting("tell the age of", key):
            if not self.exists(key):
                return None
            probe = self._path(str(PurePosixPath(key).with_name(temporary_name())))
            self._fs.pipe_file(probe, b"")
            try:
                self._fs.invalidate_cache()
                between = self._fs.modified(probe) - self._fs.modified(self._path(key))
            except (FileNotFoundError, NotImplementedError):
                return None
            finally:
                self._fs.rm_file(probe)
            return float(between.total_seconds())

    def files(self, prefix: str) -> Iterator[StoredFile]:
        with self._reporting("list", prefix):
            found = [file for file in self._found(prefix) if _is_of_the_store(file.key.rpartition("/")[2])]
        yield from sorted(found, key=lambda file: file.key)

    def digest(self, key: str) -> str | None:
        with self._reporting("read", key), self._lock:
            try:
                with self._fs.open(self._path(key), "rb") as file:
                    return sha256_stream(file)
            except (FileNotFoundError, IsADirectoryError):
                return None

    def upload(self, source: Path, key: str, progress: Progress) -> None:
        self.delete_tree(key)
        with self._reporting("upload to", key):
            if not source.is_dir():
                progress.expect(source.stat().st_size)
                self._put({source: key}, progress)
                return
            tree = read_tree(source)
            progress.expect(tree.size)
            self._put({Path(file.source): check_key(f"{key}/{file.path}") for file in tree.files}, progress)
            for directory in tree.empty_directories:
                self.write(f"{key}/{directory}/{_EMPTY}", b"")
            if not (tree.files or tree.empty_directories):
                self.write(f"{key}/{_EMPTY}", b"")

    def download(self, key: str, destination: Path, progress: Progress) -> None:
        with self._reporting("download", key), self._lock:
            found = self._found(key)
            if not found:
                raise StoreError(
                    f"there is nothing at {self.url}/{key} to download; run the step that makes it"
                )
            progress.expect(sum(file.size for file in found))
            with arriving(destination) as temporary:
                self._get(key, found, temporary, progress)

    def _put(self, keys: dict[Path, str], progress: Progress) -> None:
        if keys:
            paths = [self._path(key) for key in keys.values()]
            self._fs.put(list(map(str, keys)), paths, callback=_reporter(progress))

    def _get(self, key: str, found: list[StoredFile], destination: Path, progress: Progress) -> None:
        if [file.key for file in found] == [key]:
            targets = [destination]
        else:
            # The keys come from outside: ".." in one of them would lead out of the destination.
            targets = [destination / check_key(file.key.removeprefix(f"{key}/")) for file in found]
        for folder in {target.parent for target in targets}:
            folder.mkdir(parents=True, exist_ok=True)
        wanted = {
            self._path(file.key): target
            for file, target in zip(found, targets, strict=True)
            if target.name != _EMPTY
        }
        if wanted:
            self._fs.get(list(wanted), list(map(str, wanted.values())), callback=_reporter(progress))

    def _found(self, prefix: str) -> list[StoredFile]:
        """Everything below *prefix*, the marks of empty folders included."""
        info = self._info(prefix)
        if info is None:
            return []
        if info["type"] == "file":
            return [StoredFile(prefix, info["size"])]
        return [
            StoredFile(name.removeprefix(f"{self._root}/"), entry["size"])
            for name, entry in self._fs.find(self._path(prefix), detail=True).items()
            # Some tools leave empty objects named like folders.
            if entry["type"] == "file" and not name.endswith("/")
        ]

    def _info(self, key: str) -> dict[str, Any] | None:
        # Another process may have written since the driver last listed.
        self._fs.invalidate_cache()
        try:
            info: dict[str, Any] = self._fs.info(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info

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


def _is_of_the_store(name: str) -> bool:
    # A process that was killed between making a probe and deleting it leaves a temporary file.
    return name != _EMPTY and not is_temporary(name)


def _reporter(progress: Progress) -> Callback:
    """A callback for a transfer of several files that counts their bytes."""
    from fsspec.callbacks import Callback

    class FileReporter(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            progress.advance(inc)

    class TransferReporter(Callback):  # type: ignore[misc]
        def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
            return FileReporter()

    return TransferReporter()
