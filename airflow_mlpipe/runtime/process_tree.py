"""The processes below this one: who they are, and how to signal them all.

On Linux they are found through /proc. Orphans stay below this process once :func:`adopt_orphans` was
called, however often they forked and whatever session they opened. Elsewhere the child's process
group stands for the tree.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36

END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those by which somebody asks for the end of an attempt."""

PROC = Path("/proc")
IS_LINUX = sys.platform == "linux"


class _Stat(NamedTuple):
    """What /proc/<pid>/stat says: one-letter state, parent, start time in clock ticks since boot."""

    state: str
    parent: int
    started: str


def start_identity(pid: int) -> str | None:
    """A text that no other process of this host ever has, or None when *pid* is not alive.

    Linux: boot id and start time in clock ticks, which no change of the clock moves. Elsewhere: the
    start time as ``ps`` prints it.
    """
    if IS_LINUX:
        stat = _stat(pid)
        if stat is None or stat.state in "ZX":
            return None
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{stat.started}"
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return answer.stdout.strip() or None


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends. Best effort."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def dying_with_parent(parent: int) -> Callable[[], None]:
    """What a child of *parent* calls before it executes its program, to be killed when *parent* dies."""
    libc = _libc()  # loaded before the fork: the child between fork and exec must not import

    def prepare() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before the request was in place
                os._exit(128 + signal.SIGKILL)

    return prepare


def signal_descendants(number: int, group: int) -> bool:
    """Send signal *number* (0 only asks) to every living descendant; return whether there was one.

    *group* is the child's process group, which is all that is known where there is no /proc.
    """
    if not IS_LINUX:
        return _signalled(os.killpg, group, number)
    signalled = [_signalled(os.kill, pid, number) for pid in _descendants(os.getpid())]
    return any(signalled)


def _signalled(send: Callable[[int, int], None], target: int, number: int) -> bool:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):  # gone, or another user's by setuid
        return False
    return True


def _descendants(ancestor: int) -> Iterator[int]:
    children = defaultdict(list)
    for entry in os.listdir(PROC):  # noqa: PTH208 - a Path for each would cost more than the listing
        if entry.isdigit() and (stat := _stat(int(entry))) and stat.state not in "ZX":
            children[stat.parent].append(int(entry))
    generation = children[ancestor]
    while generation:
        yield from generation
        generation = [child for pid in generation for child in children[pid]]


def _stat(pid: int) -> _Stat | None:
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets, and may itself hold spaces and brackets.
    fields = text[text.rindex(b")") + 2 :].decode("ascii").split()
    return _Stat(fields[0], int(fields[1]), fields[19])


def _prctl(option: int, value: int) -> None:
    if libc := _libc():
        libc.prctl(option, value, 0, 0, 0)


def _libc() -> ctypes.CDLL | None:
    if not IS_LINUX:
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:  # a Python that is linked statically
        return None
