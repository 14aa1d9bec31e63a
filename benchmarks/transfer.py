"""Uploads and downloads beside rclone and plain fsspec, on the same S3 server."""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from airflow_mlpipe.access import access_to
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import list_remote, remote_files
from airflow_mlpipe.store.transfer.download import Downloader
from benchmarks.report import Comparison, Report, load
from benchmarks.transfer_probe import BUCKET, URL, know, make_bucket, upload
from tests.proxy import proxy_to
from tools.console import say

SEED = 20261122
BLOCK = 1 << 20
MEMORY = 128.0  # MB by which a transfer may grow a process
SHARED_FILES = 200  # of which a second download is looked at

TOOLS = ("ours", "rclone", "fsspec")
DIRECTIONS = ("upload", "download")
_SERVER = Path(__file__).resolve().parent.parent / "tests" / "s3_server.py"

Samples = dict[tuple[str, str, str], list[Mapping[str, float]]]


def measure(folder: Path, *, one: int, files: int, file_size: int, rounds: int) -> Report:
    """Transfer one file of *one* bytes, and *files* of *file_size*, *rounds* times by each tool in turns.

    Each tool has a fresh server, uploads to it, and downloads what it has uploaded.
    """
    shutil.rmtree(folder, ignore_errors=True)
    cases = {"one file": (1, one), "many files": (files, file_size)}
    samples: Samples = {}
    loads = []
    for case, (count, size) in cases.items():
        source = _written(folder / case.replace(" ", "-"), count, size)
        for number in range(rounds):
            for tool in TOOLS:
                loads.append(load())
                for direction, sample in _transferred(tool, source, folder / "back"):
                    samples.setdefault((case, direction, tool), []).append(sample)
            say(f"transfer: {case}, round {number + 1} of {rounds}")
    again, first = _requests_of_a_second_download(folder)
    shutil.rmtree(folder)
    settings = {"one": one, "files": files, "file_size": file_size, "rounds": rounds, "load_average": loads}
    second = Comparison("requests, downloaded again", "downloaded first", "number", [again], [first], 0.0)
    return Report(
        name="transfer",
        settings=settings,
        comparisons=[*_comparisons(samples, cases), second],
        details={"versions": _versions(), "megabytes": _megabytes(samples)},
    )


def _written(folder: Path, count: int, size: int) -> Path:
    folder.mkdir(parents=True)
    source = random.Random(SEED)
    for number in range(count):
        with (folder / f"{number:06}").open("wb") as file:
            for start in range(0, size, BLOCK):
                file.write(source.randbytes(min(BLOCK, size - start)))
    return folder


def _transferred(tool: str, source: Path, back: Path) -> Iterator[tuple[str, Mapping[str, float]]]:
    with _server() as address:
        know(address)
        make_bucket()
        for direction, folder in zip(DIRECTIONS, (source, back), strict=True):
            yield direction, (_rclone if tool == "rclone" else _probed)(tool, direction, address, folder)
    found = filecmp.dircmp(source, back)
    if found.diff_files or found.left_only or found.right_only:
        raise RuntimeError(f"{tool} brought other files than it had sent")
    shutil.rmtree(back)


@contextmanager
def _server() -> Iterator[str]:
    """The address of a server of its own, in memory."""
    command = [sys.executable, str(_SERVER)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def _probed(tool: str, direction: str, address: str, folder: Path) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.transfer_probe", tool, direction, address, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    sample: Mapping[str, float] = json.loads(done.stdout)
    return sample


def _rclone(tool: str, direction: str, address: str, folder: Path) -> Mapping[str, float]:
    remote = (
        f":s3,provider=Other,access_key_id=key,secret_access_key=secret,region=eu-west-1,endpoint='{address}'"
    )
    ends = [str(folder), f"{remote}:{BUCKET}/data"]
    # moto answers the look of rclone at a file that came in parts by an error.
    command = [tool, "copy", "--s3-no-head", *(ends if direction == "upload" else reversed(ends))]
    # It refuses a bundle of certificates that it is given in this way.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    environment["RCLONE_CONFIG"] = os.devnull
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    return {"seconds": time.perf_counter() - started}


def _requests_of_a_second_download(folder: Path) -> tuple[int, int]:
    """How many requests a machine makes that downloads what it has downloaded; and how many it made first."""
    source = _written(folder / "shared", SHARED_FILES, 1000)
    with _server() as address, proxy_to(address) as proxy:
        know(proxy.address)
        make_bucket()
        upload(source)
        listing = list_remote(access_to(URL))
        numbers = []
        for target in ("first", "again"):
            proxy.requests.clear()
            files = remote_files(listing.url, listing.files)
            wanted = [(file, folder / target / Path(file.url).name) for file in files]
            with HashCache(folder / "digests.sqlite") as cache:
                downloads = DownloadCache(folder / "downloads", 1_000_000_000)
                Downloader(downloads, RemoteDigests(cache), Progress.silent()).fetch(wanted, own=False)
            numbers.append(len(proxy.requests))
    first, again = numbers
    return again, first


def _comparisons(samples: Samples, cases: Mapping[str, Any]) -> Iterator[Comparison]:
    for case in cases:
        for direction in DIRECTIONS:
            seconds = {tool: _values(samples[case, direction, tool], "seconds") for tool in TOOLS}
            for tool in TOOLS[1:]:
                yield Comparison(f"{direction}, {case}", tool, "seconds", seconds["ours"], seconds[tool], 1.0)
            megabytes = _values(samples[case, direction, "ours"], "megabytes")
            yield Comparison(f"memory, {direction}, {case}", "128 MB", "MB", megabytes, [MEMORY], 1.0)


def _megabytes(samples: Samples) -> dict[str, list[float]]:
    """How far each process grew, where that was measured."""
    return {
        ", ".join(key): [round(value, 1) for value in _values(found, "megabytes")]
        for key, found in samples.items()
        if key[2] != "rclone"
    }


def _values(samples: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [sample[name] for sample in samples]


def _versions() -> dict[str, str]:
    told = subprocess.run(["rclone", "version"], check=True, capture_output=True, text=True).stdout
    distributions = ("fsspec", "s3fs", "aiobotocore", "aiohttp", "moto")
    return {"rclone": told.splitlines()[0], **{name: version(name) for name in distributions}}
