"""The memory limit under which this process runs, and whether the kernel has ended a process because of it.

A container has the limit in a control group, of version 1 or 2. Whoever reaches it is killed by SIGKILL and
told nothing, so that the kernel's counters are all there is to tell why. Elsewhere than on Linux, and where
nothing limits the memory, there is nothing to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc/self")
UNLIMITED = 1 << 60  # version 1 writes the largest number of pages in bytes for "no limit"


class _Files(NamedTuple):
    """Where a version has its limit in bytes, and the names of its counters with their files.

    *kills* are processes of the group that were killed for want of memory, anybody's; *hits* is how often the
    group's own limit stood in the way.
    """

    limit: str
    kills: tuple[str, str]
    hits: tuple[str, str]


_V1 = _Files("memory.limit_in_bytes", ("memory.oom_control", "oom_kill"), ("memory.failcnt", ""))
_V2 = _Files("memory.max", ("memory.events", "oom_kill"), ("memory.events", "oom"))


@dataclass(frozen=True)
class _Group:
    """A control group, by its folder."""

    folder: Path
    files: _Files

    def limit(self) -> int | None:
        """In bytes; None when there is none."""
        text = _text(self.folder / self.files.limit).strip()
        return int(text) if text.isdigit() and int(text) < UNLIMITED else None

    def kills(self) -> int:
        return self._count(*self.files.kills)

    def hits(self) -> int:
        return self._count(*self.files.hits)

    def _count(self, file: str, name: str) -> int:
        found = re.search(rf"^{name} *(\d+)$", _text(self.folder / file), re.MULTILINE)
        return int(found[1]) if found else 0


class MemoryLimit:
    """The limits of this process's control group and of those around it, as far as it sees them.

    They are watched from now on. Nothing here fails: what cannot be read is no limit.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._groups = list(_groups(proc))
        self._before = self._counts()

    def reached(self) -> int | None:
        """The limit in bytes for which a process was killed since; None when none was, or for another reason.

        A machine that is itself out of memory kills as well; then no limit of ours was in the way.
        """
        killed, *hits = (now - was for now, was in zip(self._counts(), self._before, strict=True))
        if killed <= 0:
            return None
        pairs = zip(self._groups, hits, strict=True)
        return next((limit for group, hit in pairs if hit > 0 and (limit := group.limit()) is not None), None)

    def _counts(self) -> list[int]:
        """Processes killed in the own group, and the hits of each group's limit."""
        return [self._groups[0].kills() if self._groups else 0, *(group.hits() for group in self._groups)]


def in_words(size: int) -> str:
    """A limit as people write it: ``512 MiB``, ``1.5 GiB``."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"


def _groups(proc: Path) -> Iterator[_Group]:
    """The group of the process of *proc* that accounts for its memory, then those around it."""
    for files, own, root, mount in _hierarchies(proc):
        # Seen from inside a container, the group's path may begin above what is mounted.
        folder = mount / own.relative_to(root) if own.is_relative_to(root) else mount
        if (folder / files.limit).exists() or (folder / files.kills[0]).exists():
            while folder.is_relative_to(mount):
                yield _Group(folder, files)
                folder = folder.parent
            return


def _hierarchies(proc: Path) -> Iterator[tuple[_Files, Path, Path, Path]]:
    """The hierarchies that may account for memory: own group's path, the path that is mounted, and where."""
    own = {}
    for line in _text(proc / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            own[_V1 if controllers else _V2] = Path(path)
    for line in _text(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        files = {"cgroup": _V1, "cgroup2": _V2}.get(kind)
        if files is not None and files in own and (files is _V2 or "memory" in options.split(",")):
            root, mount = (Path(_unescaped(field)) for field in before.split(" ")[3:5])
            yield files, own[files], root, mount


def _unescaped(field: str) -> str:
    """A path of mountinfo, which writes spaces and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf8", errors="replace")
    except OSError:
        return ""
