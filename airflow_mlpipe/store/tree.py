"""The files of a local folder, with one rule for symbolic links that everything here shares.

A link inside the tree that leads to something inside the tree counts as what it names. A link that leads
out of the tree, nowhere, or to a folder that it lies in is refused, and so is whatever is neither file
nor folder: none of them could be taken along to another machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.progress import Progress

BLOCK = 1 << 20

Identity = tuple[int, int]


class TreeFile(NamedTuple):
    """One file: its posix path below the root, where it lies, and its status, links followed."""

    path: str
    source: str
    status: os.stat_result

    @property
    def size(self) -> int:
        """In bytes."""
        return self.status.st_size

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it."""
        return bool(self.status.st_mode & stat.S_IXUSR)


class EmptyFolder(NamedTuple):
    """A folder without any entry: its posix path below the root."""

    path: str


Leaf = TreeFile | EmptyFolder
"""What a walk comes to in the end."""


@dataclass(frozen=True)
class Tree:
    """The files, and the folders without any entry, each sorted by path. The root itself is not listed."""

    files: tuple[TreeFile, ...]
    empty_directories: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def raise_refusal(refusal: StoreError) -> NoReturn:
    """Treat a refused entry as an error."""
    raise refusal


def walk(
    root: Path,
    refuse: Callable[[StoreError], None] = raise_refusal,
    skip: Callable[[str], bool] | None = None,
) -> Iterator[Leaf]:
    """The files below the folder *root* and the folders without any entry, in order of their paths.

    Of the tree, only the names in the folders on the way to the current entry are held in memory. *refuse*
    gets a StoreError for every entry that cannot be part of a tree; when it returns, the entry is left out.
    Entries whose name *skip* picks are passed over. A folder that cannot be read always raises StoreError.
    """
    return _Walk(str(root), refuse, skip).entries()


def read_tree(root: Path) -> Tree:
    """All of :func:`walk` at once; anything refused raises."""
    entries = list(walk(root))
    return Tree(
        tuple(entry for entry in entries if isinstance(entry, TreeFile)),
        tuple(entry.path for entry in entries if isinstance(entry, EmptyFolder)),
    )


def tree_size(root: Path) -> int:
    """Bytes of the files below *root*, to tell progress by: links and what cannot be read are not counted."""
    size, folders = 0, [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as scan:
            for entry in scan:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def copy(source: Path, destination: Path, progress: Progress) -> None:
    """Copy what is at *source* to *destination*, which must not exist. Raises OSError and StoreError."""
    if source.is_dir():
        progress.expect(lambda: tree_size(source))
        recreate(source, destination, lambda file, target: _copy_file(file, target, progress))
    else:
        progress.expect(source.stat().st_size)
        _copy_file(source, destination, progress)


def recreate(source: Path, destination: Path, put: Callable[[Path, Path], object]) -> None:
    """Make the new folder *destination* with the folders of *source*; *put* places each of its files.

    Raises OSError, StoreError as :func:`walk`, and what *put* raises.
    """
    destination.mkdir()
    for entry in walk(source):
        target = destination / entry.path
        if isinstance(entry, EmptyFolder):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            put(Path(entry.source), target)


def _copy_file(source: Path, destination: Path, progress: Progress) -> None:
    """Copy bytes and the executable bit, but not read-only: sealed outputs are, copies are not.

    Raises OSError.
    """
    with source.open("rb") as reader, destination.open("xb") as writer:
        while block := reader.read(BLOCK):
            writer.write(block)
            progress.advance(len(block))
        if os.fstat(reader.fileno()).st_mode & stat.S_IXUSR:
            mode = stat.S_IMODE(os.fstat(writer.fileno()).st_mode)
            os.fchmod(writer.fileno(), mode | (mode & 0o444) >> 2)


class _Level(NamedTuple):
    """A folder on the way: its path with a slash, the names to come, the folders that it is and lies in."""

    prefix: str
    names: Iterator[str]
    around: tuple[Identity, ...]


class _Walk:
    """One walk below *root*. Texts instead of Path objects, which cost more than the look at a file."""

    def __init__(
        self, root: str, refuse: Callable[[StoreError], None], skip: Callable[[str], bool] | None
    ) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._refuse = refuse
        self._skip = skip

    def entries(self) -> Iterator[Leaf]:
        try:
            identity = _identity(os.stat(self._root))  # noqa: PTH116
            levels = [_Level("", iter(self._names(self._root)), (identity,))]
            while levels:
                yield from self._entries(levels[-1], levels)
        except OSError as error:
            raise StoreError(
                f"cannot read {error.filename or self._root}: {error.strerror}; check its permissions"
            ) from error

    def _entries(self, level: _Level, levels: list[_Level]) -> Iterator[Leaf]:
        """What is left of *level*, up to the next folder with entries, which is put on top of *levels*."""
        prefix = level.prefix
        start = os.path.join(self._root, prefix)  # noqa: PTH118
        for name in level.names:
            name = name.removesuffix("/")
            source = start + name
            try:
                status = os.lstat(source)
                if stat.S_ISLNK(status.st_mode):
                    status = self._followed(source)
                if not name.isascii():
                    _check_text(name, source)
                inside = None if stat.S_ISREG(status.st_mode) else self._inside(source, status, level.around)
            except FileNotFoundError:
                self._refuse(_vanished(source))
                continue
            except StoreError as refusal:
                self._refuse(refusal)
                continue
            if inside is None:
                yield TreeFile(prefix + name, source, status)
            elif not inside:
                yield EmptyFolder(prefix + name)
            else:
                around = (*level.around, _identity(status))
                levels.append(_Level(f"{prefix}{name}/", iter(inside), around))
                return
        levels.pop()

    def _names(self, folder: str) -> list[str]:
        """The names in *folder*, those of folders with a slash at their end, sorted as their paths are.

        That is the order in which the files below come. An empty folder has no files below it, and stands
        where its own path does: ``a-b`` and ``a.b`` come after ``a`` but before ``a/``.
        """
        with os.scandir(folder) as scan:
            names = [f"{entry.name}/" if _is_folder(entry) else entry.name for entry in scan]
        if self._skip is not None:
            names = [name for name in names if not self._skip(name.removesuffix("/"))]
        names.sort()
        misplaced = [
            at
            for at, name in enumerate(names)
            if name[-1] == "/" and at and names[at - 1].startswith(name[:-1]) and _is_empty(folder, name)
        ]
        for at in misplaced:
            names[at] = names[at][:-1]
        if misplaced:
            names.sort()
        return names

    def _inside(self, source: str, status: os.stat_result, around: tuple[Identity, ...]) -> list[str]:
        """The names in the folder *source*."""
        if not stat.S_ISDIR(status.st_mode):
            raise StoreError(f"{source} is neither a file nor a folder; remove it or keep it elsewhere")
        if _identity(status) in around:
            raise StoreError(f"the link {source} leads to a folder that it lies in; remove the link")
        try:
            return self._names(source)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _vanished(source) from error

    def _followed(self, link: str) -> os.stat_result:
        """The status of what *link* leads to."""
        target = os.path.realpath(link)
        if os.path.commonpath([self._real_root, target]) != self._real_root:
            raise StoreError(
                f"the link {link} leads to {target}, out of {self._real_root}; "
                "put a copy in its place, or the target inside the folder"
            )
        if not os.path.exists(target):  # noqa: PTH110
            raise StoreError(f"the link {link} leads to {target}, which does not exist; remove the link")
        return os.stat(link)  # noqa: PTH116


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or to where nobody may look: the walk will say so
        return False


def _is_empty(folder: str, name: str) -> bool:
    with os.scandir(f"{folder}/{name}") as scan:
        return next(scan, None) is None


def _check_text(name: str, source: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the name {source!r} is not valid UTF-8; rename the file") from error


def _vanished(path: str) -> StoreError:
    return StoreError(f"{path} vanished while it was read; let nothing write there")


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
