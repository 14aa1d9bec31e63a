"""What a server says lies at a URL: one file, or the files of a folder, each in a state that has a name."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_mlpipe.access import Access, filesystem, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.driver_listing import files_below
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.patterns import matches
from airflow_mlpipe.store.transfer.remote_file import RemoteFile, service_of, stamp_of
from airflow_mlpipe.store.transient import persistently

# What servers without etags say: when the file was changed last, often in whole seconds.
_TIMES = ("mtime", "LastModified", "Last-Modified", "last_modified", "modify", "modified", "updated")

# Seconds within which a file may change twice and keep its time, and a bit for clocks that differ.
_RACY = 5.0


class ListedFile(NamedTuple):
    """A file as its server lists it.

    *path* is posix, below the URL that was listed; "" when that is the file's own. *size* is in bytes;
    *stamp* changes when the bytes do; both are None when the server does not say. Where the stamp is a mere
    time of change, *changed_at* is that time, in seconds since the epoch. Of a file that was registered, not
    listed, *digest* and *executable* are what its copy must be.
    """

    path: str
    size: int | None
    stamp: str | None
    changed_at: float | None = None
    digest: str | None = None
    executable: bool = False


@dataclass(frozen=True)
class RemoteListing:
    """What lies at a URL.

    *url* is that of the file, or of the folder at which paths start; *root* is the same as the driver calls
    it. ``files`` are sorted by path; none when nothing is there.
    """

    url: str
    root: str
    is_file: bool
    files: tuple[ListedFile, ...]

    @property
    def size(self) -> int:
        """In bytes, as far as known."""
        return sum(file.size or 0 for file in self.files)

    def path_of(self, file: ListedFile) -> str:
        """What the driver calls *file*."""
        return f"{self.root}/{file.path}" if file.path else self.root

    def doubt(self, now: float) -> str | None:
        """Why the stamps do not identify the content, in a few words; None when they do.

        *now* is in seconds since the epoch.
        """
        for file in self.files:
            name = shown(file_url(self.url, file.path))
            if file.stamp is None:
                return f"the server gives no etag for {name}; use identity='content'"
            if file.changed_at is not None and now - file.changed_at < _RACY:
                return f"the server tells only when {name} was changed, and that is a moment ago"
        return None


def is_web(url: str) -> bool:
    """Whether *url* is of a web server, which knows files but no folders."""
    return url.startswith(("http://", "https://"))


def is_pattern(url: str) -> bool:
    """Whether *url* names files by a pattern; the ``?`` of a web address begins its query."""
    return not is_web(url) and glob.has_magic(url)


def shown(url: str) -> str:
    """*url* for the log: without the query of a web address, which may be as good as a password."""
    return url.partition("?")[0] if is_web(url) else url


def leaf_of(url: str) -> str:
    """The last name in *url*, without the query of a web address."""
    return shown(url).rstrip("/").rpartition("/")[2]


def file_url(url: str, path: str) -> str:
    """The URL of the file *path* below *url*; "" is *url* itself."""
    return f"{url.rstrip('/')}/{path}" if path else url


def remote_files(url: str, files: Iterable[ListedFile]) -> Iterator[RemoteFile]:
    """The *files* that were listed at *url*, to download them.

    Those of which only a time of change is known have no stamp: it is too weak to remember a digest by.
    """
    service = service_of(filesystem(url)[0])
    for file in files:
        stamp = file.stamp if file.changed_at is None else None
        yield RemoteFile(
            file_url(url, file.path), file.size, stamp, file.digest, file.executable, service=service
        )


def list_remote(access: Access, *, literally: bool = False) -> RemoteListing:
    """The files at the URL of *access*, or matching it when it is a pattern, as they are now.

    *literally* it is no pattern: the URL of a file that was listed before may look like one. Web addresses
    are of one file each. Raises StoreError when the server does not answer, and for a name that could not be
    one on a disk.
    """
    return persistently(lambda: _listed(access, literally), time.sleep)


def _listed(access: Access, literally: bool) -> RemoteListing:
    try:
        driver, path = opened(access)
        # Another process may have written since the driver last listed.
        driver.invalidate_cache()
        look = _Listed(driver, access.url, path)
        return look.at() if literally or not is_pattern(access.url) else look.matching()
    except StoreError:
        raise
    except Exception as error:
        why = str(error).replace(access.url, shown(access.url))
        raise StoreError(f"{shown(access.url)} cannot be listed: {type(error).__name__}: {why}") from error


class _Listed:
    """One look at *path* of a *driver*, which is *url*."""

    def __init__(self, driver: Any, url: str, path: str) -> None:
        self._driver = driver
        self._url = url
        self._path = path

    def at(self) -> RemoteListing:
        if is_web(self._url) or not self._url.endswith("/"):
            info = self._info()
            if info is not None and info["type"] != "directory":
                file = self._file("", info)
                return RemoteListing(self._url, self._path, is_file=True, files=(file,))
            if is_web(self._url):
                return RemoteListing(self._url, self._path, is_file=True, files=())
        root = self._path.rstrip("/")
        found = dict(files_below(self._driver, root or self._path))
        return self._folder(self._url.rstrip("/"), root, found)

    def _info(self) -> Mapping[str, Any] | None:
        try:
            info: Mapping[str, Any] = self._driver.info(self._path)
        except FileNotFoundError as error:
            # The driver for the web says so of every failure.
            if getattr(error.__cause__, "status", 404) not in (404, 410):
                raise
            return None
        return info

    def matching(self) -> RemoteListing:
        pattern, url = self._path, self._url
        while glob.has_magic(pattern):
            pattern, url = pattern.rpartition("/")[0], url.rpartition("/")[0]
        inside = self._path[len(pattern) :].lstrip("/")
        found = files_below(self._driver, pattern, inside.split("/"))
        files = {name: info for name, info in found if matches(_below(pattern, name), inside)}
        return self._folder(url, pattern, files)

    def _folder(self, url: str, root: str, found: Mapping[str, Mapping[str, Any]]) -> RemoteListing:
        files = tuple(sorted(self._files(root, found), key=lambda file: file.path))
        folders = _folders(files)
        for file in files:
            if file.path in folders:
                raise StoreError(
                    f"{shown(url)}/{file.path} is a file, and other files lie below it, which no disk can "
                    "hold; rename it, or name the files one by one"
                )
        return RemoteListing(url, root, is_file=False, files=files)

    def _files(self, root: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[ListedFile]:
        for name, info in found.items():
            # Some tools leave empty objects named like folders.
            if info["type"] == "directory" or name.endswith("/"):
                continue
            status = self._followed(name) if info["type"] == "link" else info
            # Names come from outside: one with ".." in it would lead out of the folder that a step is given.
            yield self._file(check_key(_below(root, name)), status)

    def _followed(self, link: str) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self._driver.info(link)
        if status["type"] == "directory":
            raise StoreError(f"{link} at {shown(self._url)} is a link to a folder; name that folder as well")
        return status

    def _file(self, path: str, info: Mapping[str, Any]) -> ListedFile:
        size, stamp = info.get("size"), stamp_of(info)
        changed = next((info[key] for key in _TIMES if info.get(key)), None)
        if stamp is not None or size is None or (at := _seconds(changed)) is None:
            return ListedFile(path, size, stamp)
        # Unlike an etag a time says nothing of the content: the same one on another server is another file.
        host = urlsplit(self._url).hostname or getattr(self._driver, "host", None)
        return ListedFile(path, size, f"modified={changed} on {host}", at)


def _seconds(time_of_change: object) -> float | None:
    """A time as servers tell it, in seconds since the epoch; None for one that cannot be read."""
    if isinstance(time_of_change, datetime):
        return time_of_change.timestamp()
    if isinstance(time_of_change, (int, float)):
        return float(time_of_change)
    try:
        return parsedate_to_datetime(str(time_of_change)).timestamp()
    except ValueError:
        return None


def _below(root: str, name: str) -> str:
    return name.removeprefix(f"{root}/")


def _folders(files: Sequence[ListedFile]) -> set[str]:
    """The paths of all folders that *files* lie in."""
    folders = set[str]()
    for file in files:
        folder = file.path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders
