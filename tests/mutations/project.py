"""A small project as a value: what lies in a DAG bundle and beside it, and what its one step is given."""

from __future__ import annotations

import dataclasses
import os
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

BUNDLE = "bundle"
SITE = "site"

Observable = Literal["docstrings", "text", "modules"]


@dataclass(frozen=True)
class Data:
    """Stands in the arguments for a declared input: a file or folder, by its path in the bundle."""

    path: str


@dataclass(frozen=True)
class Param:
    """Stands in the arguments for a parameter of the DAG."""

    name: str


@dataclass(frozen=True)
class Output:
    """Stands in the arguments for the file that the step writes: all that counts as its result."""


@dataclass(frozen=True)
class Project:
    """What a step is made of.

    ``files`` are those of the bundle and ``site`` those of a folder of installed packages, by path;
    ``links`` are symbolic links in the bundle. The script lies in the folder ``source``. ``idle`` names
    Python files of ``source`` that the step does not load; ``observes`` what it may look at besides
    the meaning of its code: docstrings, the text of its files, or modules by a name that it computes;
    ``read`` is a folder all of whose files it reads as data, Python or not;
    ``imports_strangers`` says that it imports a library that is not known to leave docstrings alone.
    ``operator`` are further keywords of the step, ``dag_id`` the name of its pipeline.
    """

    name: str
    files: Mapping[str, bytes]
    arguments: tuple[Any, ...] = (Output(),)
    script: str = "train.py"
    source: str = "src"
    site: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    executable: frozenset[str] = frozenset()
    params: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    observes: frozenset[Observable] = frozenset()
    read: str | None = None
    imports_strangers: bool = False
    operator: Mapping[str, Any] = field(default_factory=dict)
    dag_id: str = "pipeline"

    def with_file(self, path: str, content: bytes | None) -> Project:
        """The project with other bytes at *path* of the bundle; None takes the file away."""
        rest = {name: kept for name, kept in self.files.items() if name != path}
        return dataclasses.replace(self, files=rest if content is None else {**rest, path: content})

    @property
    def live(self) -> list[str]:
        """The Python files of the bundle that the step may load."""
        return sorted(path for path in self.files if path.endswith(".py") and path not in self.idle)

    def reads_text(self, path: str) -> bool:
        """Whether the step may look at the text of the Python file *path*."""
        return "text" in self.observes or (self.read is not None and path.startswith(f"{self.read}/"))

    def lay(self, folder: Path) -> None:
        """Write the project below *folder*, where nothing is yet."""
        for root, files in ((folder / BUNDLE, self.files), (folder / SITE, self.site)):
            root.mkdir(parents=True)
            for path, content in files.items():
                _write(root / path, content)
        for path, target in self.links.items():
            (folder / BUNDLE / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / BUNDLE / path).symlink_to(target)
        for path in self.executable:
            (folder / BUNDLE / path).chmod(0o755)

    def change_into(self, after: Project, folder: Path, *, keep_times: bool = False) -> None:
        """Make of this project, laid below *folder*, the project *after*; only what differs is written.

        *keep_times* puts the modification times of rewritten files back.
        """
        for root, old, new in (
            (folder / BUNDLE, self.files, after.files),
            (folder / SITE, self.site, after.site),
        ):
            for path in old.keys() - new.keys():
                (root / path).unlink()
                _prune(root / path, root)
            for path, content in new.items():
                if old.get(path) != content:
                    _write(root / path, content, keep_times=keep_times)
        for path in self.links.keys() - after.links.keys():
            (folder / BUNDLE / path).unlink()
        for path, target in after.links.items():
            if self.links.get(path) != target:
                (folder / BUNDLE / path).unlink(missing_ok=True)
                (folder / BUNDLE / path).symlink_to(target)
        for path in self.executable ^ after.executable:
            (folder / BUNDLE / path).chmod(0o755 if path in after.executable else 0o644)


def texts(files: Mapping[str, str]) -> dict[str, bytes]:
    """Files by path, from texts with a common indentation."""
    return {path: textwrap.dedent(text).lstrip("\n").encode() for path, text in files.items()}


def copy_elsewhere(folder: Path) -> Path:
    """A copy of everything below *folder* under another path; links stay links."""
    copy = folder.parent / f"{folder.name}-copy" / "deeper"
    shutil.copytree(folder, copy, symlinks=True)
    return copy


def _write(path: Path, content: bytes, *, keep_times: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = path.stat() if keep_times and path.exists() else None
    path.write_bytes(content)
    if times is not None:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _prune(path: Path, root: Path) -> None:
    """Remove the folders that the file *path* has left empty."""
    for folder in path.parents:
        if folder == root or any(folder.iterdir()):
            return
        folder.rmdir()
