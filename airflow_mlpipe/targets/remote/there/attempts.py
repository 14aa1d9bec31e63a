"""Starts, watches and ends the process of an attempt on the machine on which this runs.

The folder of an attempt has

- ``parcel/``: what was handed over;
- ``output.txt``: what the process prints;
- ``process.json``: its id and host;
- ``lock``: a file that the process holds locked as long as it lives. The kernel lets go of it, whatever ends
  the process, so no id of a process is ever taken for that of another.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # where this is run, they are in the same namespace
    from airflow_mlpipe.targets.remote.there.serving import Refused, Verb

MARK = "MLPIPE_ATTEMPT_FOLDER"
"""The variable by which what an attempt started is known, whoever its parent is now."""

PROC = Path("/proc")
POLL_SECONDS = 0.1
STARTING_SECONDS = 0.5  # longer than anybody holds the lock to see whether it is free
KILL_SECONDS = 5.0
CHUNK_BYTES = 64 * 1024
TAIL_BYTES = 16 * 1024


class Folder:
    """The folder of one attempt."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        self.parcel = self.path / "parcel"
        self.output = self.path / "output.txt"
        self.process = self.path / "process.json"
        self.lock = self.path / "lock"

    def make(self) -> None:
        """See that it is there, for its owner's eyes only. Raises Refused when it is somebody else's."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        status = self.path.lstat()
        if status.st_uid != os.geteuid() or self.path.is_symlink():
            raise Refused(f"{self.path} belongs to somebody else; name another folder in the compute target")
        self.path.chmod(0o700)

    def locked(self) -> int | None:
        """A descriptor that holds the lock, or None when the process of the attempt does."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + STARTING_SECONDS
        while not _takes(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(POLL_SECONDS)
        return descriptor

    def state(self) -> str:
        """``unknown``, ``running`` or ``over``."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY)
        except FileNotFoundError:
            return "unknown"
        try:
            return "over" if _takes(descriptor, fcntl.LOCK_SH) else "running"
        finally:
            os.close(descriptor)

    def last_lines(self) -> list[str]:
        """The end of what the process printed."""
        try:
            with self.output.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
                return stream.read().decode("utf8", errors="replace").splitlines()
        except FileNotFoundError:
            return []


def look(stream: BinaryIO, folder: str) -> dict[str, Any]:
    """How the attempt in *folder* is; ``folder`` in the answer is its absolute path."""
    place = Folder(folder)
    state = place.state()
    lines = place.last_lines() if state == "over" else []
    return {"folder": str(place.path), "state": state, "last_lines": lines}


def start(stream: BinaryIO, folder: str, files: dict[str, int], command: list[str]) -> dict[str, Any]:
    """Start *command* in *folder*, detached from who asks, unless the attempt runs already.

    The contents of *files*, whose sizes it maps, follow on *stream*; they are put into the parcel.
    """
    contents = {name: stream.read(size) for name, size in files.items()}
    place = Folder(folder)
    place.make()
    lock = place.locked()
    if lock is None:
        return look(stream, folder)
    try:
        _kill_rest(place)
        shutil.rmtree(place.parcel, ignore_errors=True)
        place.parcel.mkdir(mode=0o700)
        for name, content in contents.items():
            _write(place.parcel / name, content)
        process = _detached(place, command, lock)
    finally:
        os.close(lock)  # the process has it as well, or nobody is to have it
    _write(place.process, json.dumps({"pid": process.pid, "host": os.uname().nodename}).encode())
    return {"folder": str(place.path), "state": "running", "last_lines": []}


def follow(folder: str, offset: int) -> None:
    """Print what the attempt in *folder* prints, from byte *offset* on, until its process has ended.

    Ends as well when nobody listens any longer.
    """
    place, caller = Folder(folder), os.getppid()
    try:
        log = place.output.open("rb", buffering=0)
    except FileNotFoundError:
        return
    with log:
        log.seek(offset)
        while os.getppid() == caller:
            has_ended = place.state() != "running"  # asked first: what comes after is read below
            while chunk := log.read(CHUNK_BYTES):
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            if has_ended:
                return
            time.sleep(POLL_SECONDS)


def end(stream: BinaryIO, folder: str, seconds: float) -> dict[str, Any]:
    """End the attempt in *folder*: SIGTERM, and after *seconds* SIGKILL for all that it started.

    Its folder is taken away, too: who asks may be killed before the answer, and nobody would ask for that.
    """
    place = Folder(folder)
    process = _process(place)
    if process is not None and place.state() == "running":
        _refuse_elsewhere(process["host"])
        _send(os.kill, process["pid"], signal.SIGTERM)
        _wait_for_end(place, seconds)
        if place.state() == "running":
            _send(os.killpg, process["pid"], signal.SIGKILL)
    _kill_rest(place)
    answer = look(stream, folder)
    if answer["state"] == "over":
        shutil.rmtree(place.path, ignore_errors=True)  # that it ended counts more than what stays
    return answer


def discard(stream: BinaryIO, folder: str) -> dict[str, Any]:
    """Take away the folder of an attempt that does not run; one that has its result is given a moment."""
    place = Folder(folder)
    _wait_for_end(place, KILL_SECONDS)
    if place.state() == "over":
        shutil.rmtree(place.path)
    return look(stream, folder)


VERBS: dict[str, Verb] = {"look": look, "start": start, "end": end, "discard": discard}


def _takes(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor
        stream.write(content)


def _detached(place: Folder, command: list[str], lock: int) -> subprocess.Popen[bytes]:
    signal.signal(signal.SIGCHLD, _reap)
    with open(os.open(place.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:  # noqa: PTH123
        return subprocess.Popen(
            command,
            cwd=place.path,
            env={**os.environ, MARK: str(place.path)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )


def _reap(number: int, frame: FrameType | None) -> None:
    """See that processes which have ended are gone, though nobody here waits for them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _process(place: Folder) -> dict[str, Any] | None:
    try:
        process: dict[str, Any] = json.loads(place.process.read_bytes())
    except (OSError, ValueError):
        return None
    return process


def _refuse_elsewhere(host: str) -> None:
    if host != os.uname().nodename:
        raise Refused(
            f"the attempt runs on host {host!r}, and the connection led to {os.uname().nodename!r}, which "
            "shares its folder; name one host in the connection"
        )


def _wait_for_end(place: Folder, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while place.state() == "running" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _kill_rest(place: Folder) -> None:
    """End what the attempt started and left running on this host, as far as /proc tells of it."""
    deadline = time.monotonic() + KILL_SECONDS
    while (left := list(_left(place))) and time.monotonic() < deadline:
        for pid in left:
            _send(os.kill, pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS / 5)


def _left(place: Folder) -> Iterator[int]:
    mark = f"{MARK}={place.path}".encode()
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        try:
            is_marked = entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0")
            if is_marked and _stat_state(entry) not in "ZX":
                yield int(entry.name)
        except OSError:  # gone, or another user's
            continue


def _stat_state(process: Path) -> str:
    return (process / "stat").read_bytes().rpartition(b")")[2].split()[0].decode()


def _send(send: Callable[[int, int], None], target: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)
