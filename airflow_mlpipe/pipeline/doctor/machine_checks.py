"""Checks of the machine on which they are made: a worker's, when steps are to run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from airflow_mlpipe.pipeline import worker
from airflow_mlpipe.pipeline.doctor.finding import Finding, fail, ok, warn
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.layout import ROOT
from airflow_mlpipe.store.progress import readable_size

_OLDEST, _NEWEST = (3, 10), (3, 13)
_TOO_LITTLE = 200 * 10**6
_LITTLE = 5 * 10**9
_SECONDS = 10
_FREE = "free some space, or run `airflow mlpipe gc`"


def folders(settings: Settings) -> Finding:
    """That working directories and caches can be made."""
    for option in ("work_directory", "cache_directory"):
        folder = _existing(getattr(settings, option))
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            return fail(
                f"{folder} is no folder that this user can write to", f"mend it, or change [mlpipe] {option}"
            )
    return ok(f"{settings.work_directory} and {settings.cache_directory} can be written")


def free_space(settings: Settings) -> Finding:
    """That disks have room: for outputs, working directories, virtual environments."""
    found = [space_finding(*state) for state in _disks(settings)]
    return min(found, key=lambda finding: ("FAIL", "warn", "ok").index(finding.level))


def hash_cache(settings: Settings) -> Finding:
    """That digests are remembered from one process to the next."""
    token = uuid.uuid4().hex
    with worker.hash_cache(settings) as cache:
        cache.remember("doctor", "trial", token)
    with worker.hash_cache(settings) as cache:
        remembered = cache.lookup("doctor", "trial")
    if remembered == token:
        return ok("remembers")
    return warn(
        f"{settings.cache_directory} remembers nothing, so that every file is hashed in every run",
        "delete digests.sqlite there, or make it writable; on a network disk, use a local cache_directory",
    )


def python(settings: Settings) -> Finding:
    """That the interpreter is one that is supported."""
    return python_finding(sys.version_info[:2])


def uv(settings: Settings, find: Callable[[], str] = find_uv_bin) -> Finding:
    """That the program which builds virtual environments is there; *find* says where."""
    try:
        program = find()
        asked = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return fail(f"uv does not answer: {error}", "install uv again; steps with pip_packages need it")
    return ok(f"{asked.stdout.strip()} at {program}")


def docker(settings: Settings) -> Finding:
    """Whether there is a Docker engine, for steps in containers of this machine."""
    need = "only steps in Docker containers need it: start the engine, let this user in, or set DOCKER_HOST"
    try:
        from docker import from_env
    except ImportError as error:
        return warn(f"the client is not installed: {error}", need)
    try:
        client = from_env(timeout=3)
        version = client.version()["Version"]
    except Exception as error:  # requests, urllib3 and the client each have their own
        return warn(f"no engine answers: {str(error).splitlines()[0]}", need)
    return ok(f"engine {version}")


def kubernetes(settings: Settings) -> Finding:
    """Whether there is a Kubernetes configuration, for steps in pods. The cluster is not asked."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return ok("this machine is a pod of a cluster")
    need = "only steps in pods need it: set KUBECONFIG, or an Airflow connection of type kubernetes"
    try:
        from kubernetes.config import list_kube_config_contexts

        _, current = list_kube_config_contexts(os.environ.get("KUBECONFIG", "~/.kube/config"))
    except Exception as error:  # the client raises what its YAML reader does, too
        return warn(f"there is no usable configuration: {str(error).splitlines()[0]}", need)
    return ok(f"context {current['name']}")


def space_finding(folder: Path, free: int, inodes_free: int | None) -> Finding:
    """What to say of *free* bytes and files on the disk of *folder*; None when that is not limited."""
    if free < _TOO_LITTLE or inodes_free == 0:
        what = "no files" if inodes_free == 0 else readable_size(free)
        return fail(f"{folder} has room for {what} more", _FREE)
    if free < _LITTLE:
        return warn(f"{folder} has room for {readable_size(free)} more", _FREE)
    return ok(f"{readable_size(free)} at {folder}")


def python_finding(version: tuple[Any, ...]) -> Finding:
    """What to say of a Python of this *version*."""
    name = ".".join(map(str, version))
    if _OLDEST <= version <= _NEWEST:
        return ok(f"{name} at {sys.executable}")
    return fail(f"{name} is not supported", "use Python 3.10 to 3.13")


def _disks(settings: Settings) -> Iterator[tuple[Path, int, int | None]]:
    """Every folder that grows, with what its disk has left."""
    store = Stores.open(settings).own.local_path(ROOT)
    for folder in filter(None, (store, settings.work_directory, settings.cache_directory)):
        place = _existing(folder)
        inodes = os.statvfs(place)
        yield place, shutil.disk_usage(place).free, inodes.f_favail if inodes.f_files else None


def _existing(path: Path) -> Path:
    """*path*, or the nearest above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())
