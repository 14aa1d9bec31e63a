"""Hashing a gigabyte beside a bare loop over the same bytes, and looking again beside a bare walk."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from benchmarks.report import Comparison, Report, load
from tools.console import say

SEED = 20261122
BLOCK = 1 << 20
SETTLED = 3.0  # seconds after which a file's state is trusted
DVC = "dvc>=3,<4"
INSTALL_SECONDS = 600

Work = Callable[[], object]


def measure(folder: Path, *, files: int, file_size: int, rounds: int) -> Report:
    """Hash *files* of *file_size* bytes, and as many bytes in one file, *rounds* times in turns."""
    shutil.rmtree(folder, ignore_errors=True)
    data = _Data.written(folder / "data", files, file_size)
    say(f"hashing: {files} files of {file_size} bytes, and one of as many bytes")
    others = {**_git(folder, data.many), **_dvc(folder, data.many)}
    time.sleep(SETTLED)
    works = {**_ours(folder, data), **_baselines(data), **others}
    samples: dict[str, list[float]] = {name: [] for name in works}
    loads = []
    for number in range(rounds + 1):
        for name, work in works.items():
            seconds = _timed(work)
            if number > 0:  # the first one fills the page cache
                samples[name].append(seconds)
        loads.append(load())
        say(f"hashing: round {number} of {rounds}")
    shutil.rmtree(folder)
    return Report(
        name="hashing",
        settings={"files": files, "file_size": file_size, "rounds": rounds, "load_average": loads},
        comparisons=list(_comparisons(samples)),
        details={"versions": _versions(), "not measured": sorted({"dvc status"} - set(others))},
    )


@dataclass(frozen=True)
class _Data:
    """The same bytes as one file, and as many files in folders of a hundred."""

    one: Path
    many: Path

    @classmethod
    def written(cls, folder: Path, files: int, file_size: int) -> _Data:
        data = cls(folder / "one.bin", folder / "many")
        data.many.mkdir(parents=True)
        source = random.Random(SEED)
        with data.one.open("wb") as one:
            for number in range(files):
                content = source.randbytes(file_size)
                one.write(content)
                path = data.many / f"{number // 100:04}" / f"{number:07}.bin"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
        return data


def _ours(folder: Path, data: _Data) -> Mapping[str, Work]:
    fresh = itertools.count()

    def hash_anew(path: Path, threads: int) -> None:
        with HashCache(folder / "cold" / f"{next(fresh)}.sqlite") as cache:
            describe(path, cache, threads=threads)

    def look_again() -> None:
        with HashCache(folder / "warm.sqlite") as cache:
            describe(data.many, cache)

    return {
        "one file": lambda: hash_anew(data.one, 1),
        "many files": lambda: hash_anew(data.many, 1),
        "many files, two threads": lambda: hash_anew(data.many, 2),
        "again": look_again,
    }


def _baselines(data: _Data) -> Mapping[str, Work]:
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    return {
        "loop over one file": lambda: _sha256_loop([str(data.one)]),
        "loop over many files": lambda: _sha256_loop(_files(str(data.many))),
        "walk": lambda: _walk(str(data.many)),
        "sha256sum of one file": lambda: subprocess.run(["sha256sum", data.one], **quiet),
        "sha256sum of many files": lambda: subprocess.run(
            f"find '{data.many}' -type f -print0 | xargs -0 sha256sum", shell=True, **quiet
        ),
    }


def _sha256_loop(paths: Iterator[str] | list[str]) -> None:
    for path in paths:
        digest = hashlib.sha256()
        with open(path, "rb") as file:  # noqa: PTH123 - as bare as can be
            while block := file.read(BLOCK):
                digest.update(block)
        digest.hexdigest()


def _files(folder: str) -> Iterator[str]:
    for path, _, names in os.walk(folder):
        for name in names:
            yield f"{path}/{name}"


def _walk(folder: str) -> None:
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.is_dir():
                _walk(entry.path)
            else:
                entry.stat()


def _git(folder: Path, many: Path) -> Mapping[str, Work]:
    """``git status`` of a repository that lies elsewhere and holds all the files."""
    git = ["git", f"--git-dir={folder / 'git'}", f"--work-tree={many}"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "-c", "core.compression=0", "add", "--all"], check=True, cwd=many)
    say("hashing: git knows the files")
    return {
        "git status": lambda: subprocess.run(
            [*git, "status", "--short"], check=True, stdout=subprocess.DEVNULL, cwd=many
        )
    }


def _dvc(folder: Path, many: Path) -> Mapping[str, Work]:
    """``dvc status``, if DVC can be installed into an environment of its own."""
    uv, dvc = find_uv_bin(), folder / "dvc" / "bin" / "dvc"
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    commands = [
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "dvc")],
        [uv, "pip", "install", "--quiet", "--python", str(folder / "dvc" / "bin" / "python"), DVC],
        [str(dvc), "init", "--quiet", "--no-scm"],
        [str(dvc), "add", "--quiet", many.name],
    ]
    for command in commands:
        done = subprocess.run(
            command, cwd=many.parent, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
        if done.returncode != 0:
            say(
                f"hashing: dvc is not measured, because {' '.join(command[:3])} failed: {done.stderr.strip()}"
            )
            return {}
    say("hashing: dvc knows the files")
    status = [str(dvc), "status", "--quiet"]
    return {"dvc status": lambda: subprocess.run(status, check=True, cwd=many.parent, env=environment)}


def _timed(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _comparisons(samples: Mapping[str, list[float]]) -> Iterator[Comparison]:
    for ours, baseline, aim in [
        ("one file", "loop over one file", 1.1),
        ("many files", "loop over many files", 1.1),
        ("many files, two threads", "loop over many files", 0.6),
        ("again", "walk", 2.0),
        ("one file", "sha256sum of one file", None),
        ("many files", "sha256sum of many files", None),
        ("again", "git status", None),
        ("again", "dvc status", None),
    ]:
        if baseline in samples:
            yield Comparison(ours, baseline, "seconds", samples[ours], samples[baseline], aim)


def _versions() -> dict[str, str]:
    return {
        name: subprocess.run(
            [name, "--version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
        for name in ("git", "sha256sum")
    }
