"""The peak memory of processes that hash, list and verify folders of very many files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.manifest import Manifest
from airflow_mlpipe.store.verification import verify
from benchmarks.report import Comparison, Report
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 200.0  # MB of a whole process
ATTEMPT = "attempt"
SETTLED = 3.0  # seconds after which a file's state is trusted

Job = Callable[[Path, str], None]


def measure(folder: Path, *, files: int) -> Report:
    """Each job, a process of its own, on *files* tiny files: in folders of a thousand, and in one folder."""
    shutil.rmtree(folder, ignore_errors=True)
    comparisons, seconds = [], {}
    for name, in_folder in {"folders of a thousand": 1000, "one folder": files}.items():
        _write_files(_place(folder, "data"), files, in_folder)
        say(f"hashing_memory: wrote {files} files in {name}")
        time.sleep(SETTLED)
        for job in JOBS:
            sample = _run(job, folder)
            comparisons.append(
                Comparison(f"{job}, {name}", "the limit", "MB", [sample["peak"]], [LIMIT], aim=1.0)
            )
            seconds[f"{job}, {name}"] = sample["seconds"]
            say(f"hashing_memory: {job}, {name}: {sample['peak']:.0f} MB, {sample['seconds']:.1f} s")
        shutil.rmtree(folder)
    return Report("hashing_memory", {"files": files}, comparisons, {"seconds": seconds})


def _write_files(folder: Path, files: int, in_folder: int) -> None:
    for number in range(files):
        if number % in_folder == 0:
            part = folder / f"{number // in_folder:07}"
            part.mkdir(parents=True)
        with open(f"{part}/{number:07}.txt", "w") as file:  # noqa: PTH123 - a million of them
            file.write(str(number))


def _place(folder: Path, name: str) -> Path:
    path = Datastore.open(str(folder / "store")).local_path(output_key(ATTEMPT, name))
    assert path is not None
    return path


def _run(job: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hashing_memory", job, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    sample: dict[str, Any] = json.loads(done.stdout)
    return sample


def _hash(folder: Path, name: str) -> None:
    """As for an input of a step."""
    with HashCache(folder / "digests.sqlite") as cache:
        describe(_place(folder, name), cache)


def _hash_after_a_change(folder: Path, name: str) -> None:
    """Every file is looked up by itself, since the folder is not as it was."""
    (_place(folder, name) / "one more").write_text("file")
    _hash(folder, name)
    (_place(folder, name) / "one more").unlink()


def _list_and_verify(folder: Path, name: str) -> None:
    """As for an output of a step: hash it, write its listing, compare it with what lies there."""
    datastore = Datastore.open(str(folder / "store"))
    output = describe_output(datastore, ATTEMPT, name, _place(folder, name))
    damages = verify(datastore, Manifest.model_construct(outputs={name: output}), "size")
    assert not damages, damages


JOBS: Mapping[str, Job] = {
    "hash": _hash,
    "hash again": _hash,
    "hash after a change": _hash_after_a_change,
    "list and verify": _list_and_verify,
}


def main(job: str, folder: str) -> None:
    """Do one job in this process, and print how long it took and the memory at its peak, in MB."""
    started = time.perf_counter()
    JOBS[job](Path(folder), "data")
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": _peak()}) + "\n")


def _peak() -> float:
    """MB; not from getrusage, which counts the parent's memory before the exec as well."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6  # type: ignore[index]


if __name__ == "__main__":
    main(*sys.argv[1:])
