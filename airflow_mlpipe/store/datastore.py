"""A datastore: files by key, with the few guarantees that reuse rests on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.folder import Folder, StoredFile
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.progress import Progress

_LOCAL_PROTOCOLS = ("file", "local")


class Datastore:
    """Files by key in one folder, bucket or container.

    Keys are relative posix paths; one that :func:`~airflow_mlpipe.store.layout.check_key` refuses raises
    StoreError, and so does everything that the store itself refuses. Nobody ever sees half a file. Folders
    exist by the files below them: a key names a file or nothing.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @classmethod
    def open(cls, url: str, **storage_options: Any) -> Datastore:
        """The datastore at *url*: ``/path``, ``file:///path``, ``s3://bucket/prefix``, ``memory://name``.

        *storage_options* go to the fsspec driver of a remote store. A local folder is made when something
        is first written. Raises StoreError for a relative path and for a driver that is not installed.
        """
        protocol, separator, rest = url.partition("://")
        if separator and protocol not in _LOCAL_PROTOCOLS:
            # Imported on demand, because a worker with a local store can do without fsspec.
            from airflow_mlpipe.store.remote_folder import RemoteFolder

            return cls(RemoteFolder(url.rstrip("/"), storage_options))
        path = os.path.expanduser(rest if separator else url)  # noqa: PTH111 - Path drops a second slash
        if not os.path.isabs(path):  # noqa: PTH117
            raise StoreError(f"the datastore {url!r} is not an absolute path; write file:///path/to/folder")
        return cls(LocalFolder(Path(os.path.abspath(path))))  # noqa: PTH100 - Path.absolute() keeps ".."

    def __repr__(self) -> str:
        return f"Datastore.open({self.url!r})"

    @property
    def url(self) -> str:
        """The URL of the store, without a slash at its end; ``file:///path`` for a local one."""
        return self._folder.url

    def uri(self, key: str) -> str:
        """The absolute URL of *key*, as fsspec and pandas read it (nothing is percent-encoded)."""
        return f"{self.url}/{check_key(key)}"

    def key_of(self, uri: str) -> str:
        """The key whose URL is *uri*; StoreError when it lies outside this store."""
        absolute = f"file://{uri}" if uri.startswith("/") else uri
        if not absolute.startswith(f"{self.url}/"):
            raise StoreError(
                f"{uri!r} lies outside the datastore {self.url}; use the datastore that holds it"
            )
        return check_key(absolute.removeprefix(f"{self.url}/"))

    def local_path(self, key: str) -> Path | None:
        """Where *key* lies on this machine's disks; None for a remote store."""
        return self._folder.local_path(check_key(key))

    def read(self, key: str) -> bytes | None:
        """The bytes at *key*, None when there are none."""
        return self._folder.read(check_key(key))

    def write(self, key: str, data: bytes) -> None:
        """Put *data* at *key*, in place of what was there."""
        self._folder.write(check_key(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Put *data* at *key* unless something is there; whether it was put.

        Of any number of callers one gets True. On a remote store whose driver has no conditional PUT
        several may; and of callers with equal *data* also the others.
        """
        return self._folder.create(check_key(key), data)

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        """Put *data* at *key* (None: delete it) if it holds *expected*; whether it was done.

        Exact among callers of ``swap`` and ``create``; ``write`` and ``delete`` do not take part. On a remote
        store two callers within the same moment may both get True.
        """
        return self._folder.swap(check_key(key), expected, data)

    def delete(self, key: str) -> bool:
        """Delete the file at *key*; whether there was one."""
        return self._folder.delete(check_key(key))

    def delete_tree(self, prefix: str) -> None:
        """Delete the file at *prefix*, or all below it; nothing there is fine."""
        self._folder.delete_tree(check_key(prefix))

    def exists(self, key: str) -> bool:
        """Whether there is a file at *key*."""
        return self._folder.exists(check_key(key))

    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """The file at *prefix*, or all files below it, sorted by key; "" is the whole store.

        On a local store, links that lead out of *prefix* or nowhere are not files of the store.
        """
        return self._folder.files(check_key(prefix) if prefix else prefix)

    def digest(self, key: str) -> str | None:
        """The SHA-256, in hex, of the bytes at *key*, read anew; None when there are none."""
        return self._folder.digest(check_key(key))

    def upload(self, source: Path, key: str, progress: Progress | None = None) -> None:
        """Copy the local file or folder *source* to *key*, in place of what was there.

        On a local store it arrives at once; on a remote one file by file. Executable bits survive on a local
        store only. Nothing is done when *source* is already what lies at *key*.
        """
        self._folder.upload(source, check_key(key), progress or Progress.silent())

    def download(self, key: str, destination: Path, progress: Progress | None = None) -> None:
        """Copy the file or folder at *key* to *destination*, which appears when it is complete.

        A file replaces a file; a folder needs a free or empty *destination*. The copy is writable.
        """
        self._folder.download(check_key(key), destination, progress or Progress.silent())
