"""A datastore: files by key, with the few guarantees that reuse rests on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.folder import Folder, StoredFile
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.transient import Answer, Tries, persistently

_LOCAL_PROTOCOLS = ("file", "local")

# Seconds after which an operation is not tried again: one that takes a moment, for which the driver may have
# waited all the while, and one that takes as long as there is data.
_PATIENCE, _HOWEVER_LONG = 30.0, math.inf


class Datastore:
    """Files by key in one folder, bucket or container.

    Keys are relative posix paths; one that :func:`~airflow_mlpipe.store.layout.check_key` refuses raises
    StoreError, and so does everything that the store itself refuses. Nobody ever sees half a file. Folders
    exist by the files below them: a key names a file or nothing.

    What fails in passing is tried again for a few seconds, with *pause* between the tries. A server that is
    dead is an error within a minute.
    """

    def __init__(self, folder: Folder, *, pause: Callable[[float], object] = time.sleep) -> None:
        self._folder = folder
        self._pause = pause

    @classmethod
    def open(cls, url: str, **storage_options: Any) -> Datastore:
        """The datastore at *url*: ``/path``, ``file:///path``, ``s3://bucket/prefix``, ``memory://name``.

        *storage_options* go to the fsspec driver of a remote store. A local folder is made when something
        is first written. Raises StoreError for a relative path, a URL of no place, and a driver that is not
        installed.
        """
        protocol, separator, rest = url.partition("://")
        if separator and protocol not in _LOCAL_PROTOCOLS:
            # Imported on demand, because a worker with a local store can do without fsspec.
            from airflow_mlpipe.store.remote_folder import RemoteFolder

            if protocol == "datastore":
                access = access_to(url)
                return cls.open(access.url, **access.options, **storage_options)
            if not rest.strip("/"):
                raise StoreError(f"the datastore {url!r} names no place; write {protocol}://bucket/prefix")
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
        check_key(key)
        return self._persistently(lambda: self._folder.read(key))

    def write(self, key: str, data: bytes) -> None:
        """Put *data* at *key*, in place of what was there."""
        check_key(key)
        self._persistently(lambda: self._folder.write(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Put *data* at *key* unless something is there; whether it was put.

        Of any number of callers one gets True, on a store without :meth:`weakness`. Of callers with equal
        *data* others may as well, because answers get lost; so let the data name their writer.
        """
        check_key(key)
        return self._put_once(key, data, lambda: self._folder.create(key, data))

    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        """Put *data* at *key* (None: delete it) if it holds *expected*; whether it was done.

        Exact as ``create`` is, among callers of both; ``write`` and ``delete`` do not take part. Of several
        who delete the same bytes at one time each may get True.
        """
        check_key(key)
        return self._put_once(key, data, lambda: self._folder.swap(key, expected, data))

    def weakness(self) -> str | None:
        """Why two callers within the same moment may both succeed in ``create`` or ``swap``; None: never.

        S3, Azure Blob, Google Cloud Storage and local disks have none. Other servers and drivers may: the
        sentence goes on after "because". To find out, a file may be written, which does not stay.
        """
        return self._persistently(self._folder.weakness)

    def delete(self, key: str) -> bool:
        """Delete the file at *key*; whether there was one."""
        check_key(key)
        return self._persistently(lambda: self._folder.delete(key))

    def delete_tree(self, prefix: str) -> None:
        """Delete the file at *prefix*, or all below it; nothing there is fine."""
        check_key(prefix)
        self._persistently(lambda: self._folder.delete_tree(prefix), _HOWEVER_LONG)

    def exists(self, key: str) -> bool:
        """Whether there is a file at *key*."""
        check_key(key)
        return self._persistently(lambda: self._folder.exists(key))

    def age(self, key: str) -> float | None:
        """The seconds since *key* was written, by the clock of the store.

        So it holds for a reader whose own clock is wrong. None when there is no file, and when the driver
        of a remote store tells no times. It is below 0 when the store's clock was set back. An empty file
        is written for it, which does not stay.
        """
        check_key(key)
        return self._persistently(lambda: self._folder.age(key))

    def written_at(self, key: str) -> float | None:
        """When *key* was written, in seconds since the epoch by the clock of the store.

        None when there is no file, and when the driver of a remote store tells no times.
        """
        check_key(key)
        return self._persistently(lambda: self._folder.written_at(key))

    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """The file at *prefix*, or all files below it, sorted by key; "" is the whole store.

        On a local store, links that lead out of *prefix* or nowhere are not files of the store.
        """
        return self._files(check_key(prefix) if prefix else prefix)

    def digest(self, key: str) -> str | None:
        """The SHA-256, in hex, of the bytes at *key*, read anew; None when there are none."""
        check_key(key)
        return self._persistently(lambda: self._folder.digest(key), _HOWEVER_LONG)

    def upload(self, source: Path, key: str, progress: Progress | None = None) -> None:
        """Copy the local file or folder *source* to *key*, in place of what was there.

        On a local store it arrives at once; on a remote one file by file. Executable bits survive on a local
        store only. Nothing is done when *source* is already what lies at *key*.
        """
        check_key(key)
        uploading = progress or Progress.silent()
        self._persistently(lambda: self._folder.upload(source, key, uploading), _HOWEVER_LONG)

    def download(self, key: str, destination: Path, progress: Progress | None = None) -> None:
        """Copy the file or folder at *key* to *destination*, which appears when it is complete.

        A file replaces a file; a folder needs a free or empty *destination*. The copy is writable.
        """
        check_key(key)
        downloading = progress or Progress.silent()
        self._persistently(lambda: self._folder.download(key, destination, downloading), _HOWEVER_LONG)

    def _persistently(self, operation: Callable[[], Answer], within: float = _PATIENCE) -> Answer:
        return persistently(operation, self._pause, within=within)

    def _put_once(self, key: str, data: bytes | None, put: Callable[[], bool]) -> bool:
        """What *put* returns; True as well when its first try succeeded and only the answer was lost."""
        tried = False

        def attempt() -> bool:
            nonlocal tried
            if tried and self._folder.read(key) == data:
                return True
            tried = True
            return put()

        return self._persistently(attempt)

    def _files(self, prefix: str) -> Iterator[StoredFile]:
        tries = Tries(self._pause)
        last = ""
        while True:
            try:
                for file in self._folder.files(prefix):
                    if file.key > last:
                        last = file.key
                        yield file
                return
            except StoreError as error:
                tries.failed(error)
