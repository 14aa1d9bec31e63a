"""Copying data from wherever it lies to this machine."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import EMPTY_FOLDER
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files, shown
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.tree import copy


def local_path(uri: str) -> Path | None:
    """Where *uri* lies on this machine's disks; None when it lies elsewhere. Nothing is percent-encoded."""
    return Path(uri.removeprefix("file://")) if uri.startswith("file://") else None


def fetch(uri: str, destination: Path, progress: Progress) -> None:
    """Copy the file or folder at *uri* to *destination*, which appears when all of it is there.

    Raises StoreError when it is not there or cannot be read.
    """
    local = local_path(uri)
    try:
        with arriving(destination) as temporary:
            if local is not None:
                copy(local, temporary, progress)
            else:
                _download(uri, temporary, progress)
    except OSError as error:
        raise StoreError(f"{shown(uri)} cannot be copied to {destination}: {error}") from error


def _download(uri: str, destination: Path, progress: Progress) -> None:
    listing = list_remote(access_to(uri), literally=True)
    if not listing.files:
        raise StoreError(f"nothing is at {shown(uri)}; correct the address, or put the data there")
    wanted = []
    for listed, file in zip(listing.files, remote_files(listing.url, listing.files), strict=True):
        target = destination / listed.path if listed.path else destination
        if target.name == EMPTY_FOLDER:
            target.parent.mkdir(parents=True, exist_ok=True)
        else:
            wanted.append((file, target))
    Downloader(None, RemoteDigests(HashCache(None)), progress).fetch(wanted, own=True)
