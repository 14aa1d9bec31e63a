"""Mounting remote files on this machine while a step runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import mounted_files
from airflow_mlpipe.store.mounted_files import MountDocument, MountedFile
from airflow_mlpipe.store.remote_listing import file_url, is_web
from airflow_mlpipe.store.sources import Place

_DEVICE = Path("/dev/fuse")
_MOUNTS = Path("/proc/self/mounts")
_SECONDS_TO_MOUNT = 10.0
_PAUSE = 0.02
_UNMOUNT = (["fusermount", "-u", "-z"], ["fusermount3", "-u", "-z"], ["umount", "-l"])


class CannotMount(Exception):
    """The message says why, in a few words."""


def mount(places: Sequence[tuple[str, Place]], point: Path, complaints: Path) -> None:
    """Show remote places at their paths below the folder *point*, read-only, until :func:`unmount`.

    The files are those that were listed; one that has changed since cannot be opened. A process of its own
    serves them, which outlives this one, and writes to the file *complaints* what it could not read. Raises
    CannotMount when all this does not work within ten seconds.
    """
    document = _document(places, point)
    with complaints.open("w+b") as said:
        server = _started(document, said)
        deadline = time.monotonic() + _SECONDS_TO_MOUNT
        while not point.is_mount():
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                server.wait()
                unmount(point)
                raise CannotMount(_last_line(said) or "FUSE does not answer")
            time.sleep(_PAUSE)


def unmount(point: Path) -> None:
    """End the mount at *point*, also one that is in use or has lost its process; none is fine.

    Raises StoreError when it cannot be ended.
    """
    for command in _UNMOUNT:
        if not _is_mounted(point):
            return
        with suppress(FileNotFoundError):
            subprocess.run([*command, str(point)], check=False, capture_output=True)
    if _is_mounted(point):
        raise StoreError(f"{point} cannot be unmounted; end what uses it, and run umount -l {point}")


def _document(places: Sequence[tuple[str, Place]], point: Path) -> str:
    if find_spec("fuse") is None:
        raise CannotMount("fusepy is not installed")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise CannotMount(f"{_DEVICE} cannot be used")
    files: list[MountedFile] = []
    options: list[Mapping[str, Any]] = []
    for path, place in places:
        found = dict(access_to(place.uri).options)
        if not options or options[-1] != found:
            options.append(found)
        files += _files(path, place, len(options) - 1)
    try:
        return MountDocument(str(point), files, options).to_json()
    except TypeError as error:
        raise CannotMount("the options of its datastore cannot be handed to another process") from error


def _files(path: str, place: Place, options: int) -> Iterator[MountedFile]:
    for file in place.files or ():
        if file.size is None or is_web(place.uri):
            raise CannotMount("web servers give files as a whole only")
        inside = "/".join(filter(None, (path, file.path)))
        stamp = file.stamp if file.changed_at is None else None
        yield MountedFile(inside, file_url(place.uri, file.path), file.size, stamp, options)


def _started(document: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: what ends this worker is not to take the data from a step that goes on.
    server = subprocess.Popen(
        [sys.executable, "-m", mounted_files.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said,
        cwd="/",
        start_new_session=True,
    )
    assert server.stdin is not None
    with suppress(BrokenPipeError), server.stdin as stdin:
        stdin.write(document.encode())
    return server


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _is_mounted(point: Path) -> bool:
    """Whether something is mounted at *point*; not by looking at it, which fails when its process is gone."""
    escaped = str(point).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    return any(line.split(" ")[1] == escaped for line in _MOUNTS.read_text().splitlines())
