"""Which files of a source directory belong to its snapshot.

An ignore file is ``.mlpipeignore``, else ``.amlignore``, else ``.gitignore``; the choice is made in
each folder anew, and what a folder's ignore file says holds for that folder and overrules what its
parents said. The language is git's: the last matching pattern decides, and a file below an ignored
folder cannot be taken back.

A file that is not listed here is not in the snapshot, so the step cannot see it and it does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pathspec import GitIgnoreSpec, Pattern

from airflow_mlpipe.errors import DefinitionError

IGNORE_FILES = (".mlpipeignore", ".amlignore", ".gitignore")
ALWAYS_IGNORED = frozenset(
    {
        ".DS_Store",
        ".git",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
        "__pycache__",
    }
)


def list_files(directory: Path) -> tuple[PurePosixPath, ...]:
    """The files of the snapshot of *directory*, relative to it, sorted by their text.

    A link to a file or folder inside *directory* stands for what it points to. Sockets, pipes and
    devices are no part of a snapshot. DefinitionError when the directory cannot be read, when a link
    dangles, leaves the directory or leads back to a folder around it, and when a name is not UTF-8.
    """
    root = _Folder(Path(directory), "", os.path.realpath(directory))
    walk = _Walk(Path(directory), root.real)
    return tuple(PurePosixPath(path) for path in sorted(walk.files(root, (), frozenset())))


class _Folder(NamedTuple):
    path: Path
    relative: str  # "" or "a/b/"
    real: str


class _Rule(NamedTuple):
    """One line of an ignore file, which applies below *base* ("" or "a/b/")."""

    base: str
    pattern: Pattern
    text: str  # without "!", the slash at its end and a leading "**/"

    def matches(self, path: str) -> bool:
        """Whether the line names *path* itself; a folder's path ends with a slash.

        The patterns of pathspec also match all that is below a folder that they name. The walk does
        not descend into an ignored folder, and one that was taken back takes nothing else with it.
        """
        path = path[len(self.base) :]
        folder, _, name = path.rstrip("/").rpartition("/")
        if "/" not in self.text:
            return self._match(name + path[len(path.rstrip("/")) :])
        if self.text.endswith("/**"):
            return self._match(path.rstrip("/"))
        return self._match(path) and not (folder and self._match(folder + "/"))

    def _match(self, path: str) -> bool:
        return self.pattern.match_file(path) is not None


class _Walk:
    def __init__(self, directory: Path, real: str) -> None:
        self._directory = directory
        self._inside = real.rstrip(os.sep) + os.sep

    def files(self, folder: _Folder, rules: tuple[_Rule, ...], around: frozenset[str]) -> Iterator[str]:
        """The files below *folder*; *rules* are its parents', *around* are the real folders around it."""
        try:
            with os.scandir(folder.path) as scan:
                entries = list(scan)
        except OSError as error:
            raise DefinitionError(
                f"the source directory {str(self._directory)!r} cannot be read at {str(folder.path)!r}: "
                f"{error.strerror}; check that it exists and who may read it"
            ) from error
        names = {entry.name for entry in entries}
        own = next((name for name in IGNORE_FILES if name in names), None)
        if own is not None:
            rules = (*_read_rules(folder, own), *rules)
        around |= {folder.real}
        for entry in entries:
            if entry.name in ALWAYS_IGNORED or entry.name in IGNORE_FILES or entry.name.endswith(".pyc"):
                continue
            relative = folder.relative + entry.name
            is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112
            if _ignored(relative + "/" if is_folder else relative, rules):
                continue
            self._check_name(relative)
            real = self._follow(entry, relative) if entry.is_symlink() else folder.real + os.sep + entry.name
            if is_folder:
                if real in around:
                    raise DefinitionError(
                        f"the link {relative!r} in the source directory {str(self._directory)!r} leads back "
                        f"to a folder around it, {real!r}; remove it or name it in an ignore file"
                    )
                yield from self.files(_Folder(Path(entry.path), relative + "/", real), rules, around)
            elif entry.is_file():
                yield relative

    def _follow(self, link: os.DirEntry[str], relative: str) -> str:
        real = os.path.realpath(link.path)
        target = str(Path(link.path).readlink())
        if not Path(real).exists():
            problem = "which does not exist"
        elif not (real + os.sep).startswith(self._inside):
            problem = "outside of it"
        else:
            return real
        raise DefinitionError(
            f"the link {relative!r} in the source directory {str(self._directory)!r} points to {target!r}, "
            f"{problem}; copy the file, remove the link or name it in an ignore file"
        )

    def _check_name(self, relative: str) -> None:
        try:
            relative.encode()
        except UnicodeEncodeError as error:
            raise DefinitionError(
                f"the file name {os.fsencode(relative)!r} in the source directory {str(self._directory)!r} "
                "is not UTF-8; rename it or name it in an ignore file"
            ) from error


def _ignored(path: str, rules: tuple[_Rule, ...]) -> bool:
    """What the first rule that matches says; *rules* have the last line of the nearest file first."""
    return next((bool(rule.pattern.include) for rule in rules if rule.matches(path)), False)


def _read_rules(folder: _Folder, name: str) -> tuple[_Rule, ...]:
    path = folder.path / name
    try:
        return _parse_rules(folder.relative, path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DefinitionError(f"the ignore file {str(path)!r} cannot be used: {error}; mend it") from error


@lru_cache(maxsize=64)
def _parse_rules(base: str, text: str) -> tuple[_Rule, ...]:
    rules = []
    for line in filter(None, text.split("\n")):
        for pattern in GitIgnoreSpec.from_lines([line]).patterns:
            if pattern.include is not None:  # a comment, or a line that matches nothing
                bare = line.strip().removeprefix("!").removesuffix("/").removeprefix("**/")
                rules.append(_Rule(base, pattern, bare))
    return tuple(reversed(rules))
