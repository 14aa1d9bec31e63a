"""One transfer in a process of its own: ``transfer_probe.py <tool> <direction> <address> <folder>``.

Prints its seconds and the growth of its memory in MB as JSON. Drivers are imported and their clients made
beforehand, as a worker has them for its datastore.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from airflow_mlpipe.access import Access, access_to, filesystem, resolve_with
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files
from airflow_mlpipe.store.transfer.download import Downloader
from airflow_mlpipe.store.transfer.origin import LocalFile
from airflow_mlpipe.store.transfer.upload import upload_files

BUCKET = "transfer"
URL = f"s3://{BUCKET}/data"

_SAMPLED = 0.01  # seconds between two looks at the memory


def know(address: str) -> None:
    """Let URLs of S3 lead to the server at *address*."""
    client = {"endpoint_url": address, "region_name": "eu-west-1"}
    options = {"key": "key", "secret": "secret", "client_kwargs": client}
    resolve_with(lambda url: Access(url, options))


def make_bucket() -> None:
    """Make the bucket that is not there yet."""
    filesystem(URL)[0].mkdir(BUCKET)


def upload(folder: Path) -> None:
    """Send the files in *folder* by the engine."""
    opened, path = filesystem(URL)
    files = [(LocalFile(file), f"{path}/{file.name}") for file in sorted(folder.iterdir())]
    upload_files(opened, files, Progress.silent())


def download(folder: Path) -> None:
    """Bring all files to *folder* by the engine."""
    listing = list_remote(access_to(URL))
    targets = [folder / file.path for file in listing.files]
    files = zip(remote_files(listing.url, listing.files), targets, strict=True)
    Downloader(None, RemoteDigests(HashCache(None)), Progress.silent()).fetch(files, own=True)


def _put(folder: Path) -> None:
    opened, path = filesystem(URL)
    opened.put(f"{folder}/", f"{path}/", recursive=True)


def _get(folder: Path) -> None:
    opened, path = filesystem(URL)
    opened.get(f"{path}/", f"{folder}/", recursive=True)


TRANSFERS: Mapping[tuple[str, str], Callable[[Path], None]] = {
    ("ours", "upload"): upload,
    ("ours", "download"): download,
    ("fsspec", "upload"): _put,
    ("fsspec", "download"): _get,
}


def main() -> None:
    tool, direction, address, folder = sys.argv[1:]
    know(address)
    filesystem(URL)[0].exists(BUCKET)
    process = psutil.Process()
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_SAMPLED):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    TRANSFERS[tool, direction](Path(folder))
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    print(json.dumps({"seconds": seconds, "megabytes": (peak - before) / 1e6}))


if __name__ == "__main__":
    main()
