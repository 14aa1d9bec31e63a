"""Copying trees of files from anywhere to anywhere."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from airflow_mlpipe.access import Access, access_to, opened
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files, shown
from airflow_mlpipe.store.transfer.ends import CopyReport, FolderEnd, Means, ServerEnd
from airflow_mlpipe.store.transfer.origin import LocalFile, Origin, ServedFile
from airflow_mlpipe.store.transfer.servers import server_of
from airflow_mlpipe.store.tree import TreeFile, walk

_FILE = "file://"


def copy_tree(
    sources: Mapping[str, str],
    destination: str,
    progress: Progress,
    *,
    mirror: bool = False,
    dry_run: bool = False,
    digests: RemoteDigests | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> CopyReport:
    """Copy files and folders below the folder *destination*.

    *sources* maps paths below the destination to the URLs (or absolute local paths) that go there; "" is the
    destination itself, which for a single file makes it a file. What is known to be there with the same
    content is passed over, other files of the same name are replaced. With *mirror*, files at the destination
    that no source has are deleted at the end. With *dry_run* nothing is changed. *digests* knows, and learns,
    what remote files hold.

    Raises StoreError when a source has no files (unless it is a local folder, and neither the only source nor
    that of a mirror; nothing is deleted then), when a mirror would delete its own source, and when something
    cannot be read or written; what was copied before stays.
    """
    target = _located(destination.rstrip("/"))
    if mirror:
        _refuse_own_source(sources, destination)
    with tempfile.TemporaryDirectory(prefix="mlpipe-") as scratch:
        means = Means(digests or RemoteDigests(HashCache(None)), progress, pause)
        wanted = _wanted(sources, means, Path(scratch), may_lack=not mirror)
        end = FolderEnd(target, means) if isinstance(target, Path) else ServerEnd(target, means)
        surplus = tuple(sorted(end.there - set(wanted))) if mirror else ()
        report = end.receive(wanted, dry_run=dry_run)
        if not dry_run:
            end.delete(surplus)
    return dataclasses.replace(report, deleted=surplus)


def _wanted(sources: Mapping[str, str], means: Means, scratch: Path, *, may_lack: bool) -> dict[str, Origin]:
    """The files of all sources by their paths below the destination.

    With *may_lack*, some may be folders of this machine without files.
    """
    wanted: dict[str, Origin] = {}
    for prefix, url in sources.items():
        place = _located(url)
        found = list(_on_disk(place) if isinstance(place, Path) else _on_server(place, means, scratch))
        is_empty_folder = isinstance(place, Path) and place.is_dir()
        if not found and not (may_lack and is_empty_folder):
            raise StoreError(f"nothing is at {shown(url)}; correct the address, or put the data there")
        for inside, origin in found:
            path = "/".join(filter(None, (prefix, inside)))
            if path in wanted:
                raise StoreError(f"two sources have a file {path!r}; give them different places")
            wanted[path] = origin
    if not wanted:
        names = ", ".join(map(shown, sources.values()))
        raise StoreError(f"nothing is at {names}; correct the address, or put the data there")
    if "" in wanted and len(wanted) > 1:
        raise StoreError("a file and other files cannot have one destination; give each file a name")
    return wanted


def _on_disk(path: Path) -> Iterator[tuple[str, Origin]]:
    if path.is_file():
        yield "", LocalFile(path)
    elif path.is_dir():
        for entry in walk(path):
            if isinstance(entry, TreeFile):
                yield entry.path, LocalFile(Path(entry.source))


def _on_server(access: Access, means: Means, scratch: Path) -> Iterator[tuple[str, Origin]]:
    listing = list_remote(access, literally=True)
    server = server_of(opened(access)[0])
    files = remote_files(listing.url, listing.files)
    for number, (listed, file) in enumerate(zip(listing.files, files, strict=True)):
        served = ServedFile(server, listing.path_of(listed), file, means.pause)
        if file.size is None:
            # How much it is shows when all of it is here.
            yield listed.path, LocalFile(served.on_disk(scratch / str(number)))
        else:
            known = dataclasses.replace(file, digest=means.digests.find(file))
            yield listed.path, dataclasses.replace(served, file=known)


def _located(url: str) -> Path | Access:
    """Where *url* leads: on this machine, or elsewhere."""
    access = access_to(url) if "://" in url else Access(url)
    if "://" not in access.url or access.url.startswith(_FILE):
        return Path(access.url.removeprefix(_FILE))
    return access


def _refuse_own_source(sources: Mapping[str, str], destination: str) -> None:
    end = _name(_located(destination))
    for url in sources.values():
        source = _name(_located(url))
        if source.startswith(end) or end.startswith(source):
            raise StoreError(
                f"{shown(url)} cannot be mirrored to {shown(destination)}: one is a part of the other; "
                "choose another place"
            )


def _name(place: Path | Access) -> str:
    return f"{place.resolve()}/" if isinstance(place, Path) else f"{place.url.rstrip('/')}/"
