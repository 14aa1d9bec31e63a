"""The files of a local folder, with one rule for symbolic links that everything here shares.

A link inside the tree that leads to something inside the tree counts as what it names. A link that leads
out of the tree, nowhere, or to a folder that it lies in is refused, and so is whatever is neither file
nor folder: none of them could be taken along to another machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.progress import Progress

BLOCK = 1 << 20


@dataclass(frozen=True)
class TreeFile:
    """One file: its posix path below the root, where it lies, size in bytes, owner's executable bit."""

    path: str
    source: Path
    size: int
    executable: bool


@dataclass(frozen=True)
class Tree:
    """The files, and the folders without any entry, each sorted by path. The root itself is not listed."""

    files: tuple[TreeFile, ...]
    empty_directories: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def copy_to(self, destination: Path, progress: Progress) -> None:
        """Copy bytes and executable bits to *destination*, which must not exist. Raises OSError."""
        destination.mkdir()
        for directory in self.empty_directories:
            (destination / directory).mkdir(parents=True)
        for file in self.files:
            target = destination / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(file.source, target, progress)


def raise_refusal(refusal: StoreError) -> NoReturn:
    """Treat a refused entry as an error."""
    raise refusal


def read_tree(root: Path, refuse: Callable[[StoreError], None] = raise_refusal) -> Tree:
    """The tree below the folder *root*.

    *refuse* gets a StoreError for every entry that cannot be part of a tree; when it returns, the entry is
    left out. A folder that cannot be read always raises StoreError.
    """
    reader = _Reader(os.path.realpath(root), refuse)
    try:
        reader.read(str(root), "", (_identity(root.stat()),))
    except OSError as error:
        raise StoreError(
            f"cannot read {error.filename or root}: {error.strerror}; check its permissions"
        ) from error
    by_path = sorted(reader.files, key=lambda file: file.path)
    return Tree(tuple(by_path), tuple(sorted(reader.empty_directories)))


def copy(source: Path, destination: Path, progress: Progress) -> None:
    """Copy what is at *source* to *destination*, which must not exist. Raises OSError and StoreError."""
    if source.is_dir():
        tree = read_tree(source)
        progress.expect(tree.size)
        tree.copy_to(destination, progress)
    else:
        progress.expect(source.stat().st_size)
        _copy_file(source, destination, progress)


def _copy_file(source: Path, destination: Path, progress: Progress) -> None:
    """Copy bytes and the executable bit, but not read-only: sealed outputs are, copies are not.

    Raises OSError.
    """
    with source.open("rb") as reader, destination.open("xb") as writer:
        while block := reader.read(BLOCK):
            writer.write(block)
            progress.advance(len(block))
        if is_executable(os.fstat(reader.fileno())):
            mode = stat.S_IMODE(os.fstat(writer.fileno()).st_mode)
            os.fchmod(writer.fileno(), mode | (mode & 0o444) >> 2)


def is_executable(status: os.stat_result) -> bool:
    """Whether the file's owner may execute it."""
    return bool(status.st_mode & stat.S_IXUSR)


@dataclass
class _Reader:
    real_root: str
    refuse: Callable[[StoreError], None]
    files: list[TreeFile] = field(default_factory=list)
    empty_directories: list[str] = field(default_factory=list)

    def read(self, folder: str, relative: str, ancestors: tuple[tuple[int, int], ...]) -> None:
        with os.scandir(folder) as scan:
            children = list(scan)
        if relative and not children:
            self.empty_directories.append(relative)
        for child in children:
            path = f"{relative}/{child.name}" if relative else child.name
            try:
                status = self._status(child, path)
            except StoreError as refusal:
                self.refuse(refusal)
                continue
            if stat.S_ISREG(status.st_mode):
                executable = is_executable(status)
                self.files.append(TreeFile(path, Path(child.path), status.st_size, executable))
            elif not stat.S_ISDIR(status.st_mode):
                self.refuse(
                    StoreError(f"{child.path} is neither a file nor a folder; remove it or keep it elsewhere")
                )
            elif (identity := _identity(status)) in ancestors:
                self.refuse(
                    StoreError(f"the link {child.path} leads to a folder that it lies in; remove the link")
                )
            else:
                self.read(child.path, path, (*ancestors, identity))

    def _status(self, child: os.DirEntry[str], path: str) -> os.stat_result:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"the name {child.path!r} is not valid UTF-8; rename the file") from error
        if child.is_symlink():
            self._check_link(child.path)
        try:
            return child.stat()
        except FileNotFoundError as error:
            raise StoreError(f"{child.path} vanished while it was read; let nothing write there") from error

    def _check_link(self, link: str) -> None:
        target = os.path.realpath(link)
        if os.path.commonpath([self.real_root, target]) != self.real_root:
            raise StoreError(
                f"the link {link} leads to {target}, out of {self.real_root}; "
                "put a copy in its place, or the target inside the folder"
            )
        if not os.path.exists(target):  # noqa: PTH110 - realpath's text, not worth a Path for each link
            raise StoreError(f"the link {link} leads to {target}, which does not exist; remove the link")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
