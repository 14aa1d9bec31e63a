"""Which files of a snapshot an entry script can reach by import.

Nothing is read or imported here: the listing and the import statements come in, and the files that
they may name go out. All branches count, so do imports inside functions, and where several files
could be meant all of them count: what is reached is a superset of what a run loads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from airflow_mlpipe.reuse.syntax import ImportedName

# Python imports these two by itself when their folder is on PYTHONPATH.
_IMPORTED_AT_START = ("sitecustomize", "usercustomize")
# Any library may import a module of the standard library, except its own tests.
_SHADOWABLE = sys.stdlib_module_names - {"test"}


@dataclass(frozen=True)
class Reach:
    """What an entry script reaches.

    ``files`` are Python files of the snapshot, the entry included, and compiled modules. ``external``
    are dotted names that another place on the path may have to provide. A name that only a folder
    without ``__init__.py`` provides is among them, because an installed package comes before such a
    folder; a name that only the second root provides is, because Python may not look there.
    """

    files: frozenset[str]
    external: frozenset[str]


def is_python(path: str) -> bool:
    """Whether the file is Python source. A stub (``.pyi``) is not: nothing runs it."""
    return path.endswith(".py")


def is_compiled(path: str) -> bool:
    """Whether the file may be a compiled module, whose imports nobody can see."""
    return path.endswith((".so", ".pyd"))


def reach(
    starts: Sequence[str],
    home: str,
    files: Collection[str],
    imports_of: Callable[[str], Sequence[ImportedName]],
) -> Reach:
    """Follow the imports of the files *starts* through *files*, which are relative posix paths.

    *home* ("" or "a/b/") is the entry script's own folder and the first place that Python looks in;
    the snapshot's folder is taken for a second, since PYTHONPATH may name it. Local modules named
    like one of the standard library's are reached in any case: a library that imports its namesake
    gets the local one. *imports_of* is called once for each Python file that is reached, and for no
    other; a start is Python whatever its name.
    """
    search = _Search(home, frozenset(files))
    return search.run(starts, imports_of)


class _Search:
    """Folders are written with their slash, the snapshot's own as "". Module names are tuples."""

    def __init__(self, home: str, files: frozenset[str]) -> None:
        self._files = files
        self._folders = {
            path[: index + 1] for path in files for index, sign in enumerate(path) if sign == "/"
        }
        self._compiled = {_stem(path): path for path in files if is_compiled(path)}
        self._roots = tuple(dict.fromkeys((home, "")))
        self._found: dict[tuple[str, tuple[str, ...]], None] = {}  # a file, and the package it is loaded in
        self._pending: list[tuple[str, tuple[str, ...]]] = []
        self._external: set[str] = set()

    def run(self, starts: Sequence[str], imports_of: Callable[[str], Sequence[ImportedName]]) -> Reach:
        known: dict[str, Sequence[ImportedName]] = {}
        for path in starts:
            root = self._roots[0] if path.startswith(self._roots[0]) else ""
            self._add(path, tuple(_folder(path)[len(root) :].split("/")[:-1]))
        for names in self._loaded_by_others():
            self._locate(names)
        while self._pending:
            path, package = self._pending.pop()
            if path not in starts and not is_python(path):
                continue
            if path not in known:
                known[path] = imports_of(path)
            for statement in known[path]:
                self._follow(statement, package)
        return Reach(frozenset(path for path, _ in self._found), frozenset(self._external))

    def _loaded_by_others(self) -> Iterator[tuple[str, ...]]:
        for name in _IMPORTED_AT_START:
            yield (name,)
        home = self._roots[0]
        for path in self._files:
            if path.startswith(home) and (is_python(path) or is_compiled(path)):
                names = tuple(_stem(path)[len(home) :].split("/"))
                if names[0] in _SHADOWABLE and (len(names) == 1 or self._is_certain(names[0])):
                    yield names

    def _follow(self, statement: ImportedName, package: tuple[str, ...]) -> None:
        names = tuple(statement.module.split(".")) if statement.module else ()
        if statement.level:
            depth = len(package) - (statement.level - 1)
            if depth < 0:
                return  # beyond the top-level package: Python refuses, too
            names = package[:depth] + names
        elif not self._is_certain(names[0]):
            self._external.add(".".join(names))
        inside = self._locate(names)
        if statement.name == "*":
            # __all__ may name any of the submodules.
            for name in self._members(inside):
                self._locate((*names, name))
        elif statement.name is not None:
            self._locate((*names, statement.name))

    def _is_certain(self, name: str) -> bool:
        """Whether a top-level name is provided by the script's own folder, whatever is installed."""
        stem = self._roots[0] + name
        return not self._files.isdisjoint((f"{stem}.py", f"{stem}/__init__.py")) or not {
            stem,
            f"{stem}/__init__",
        }.isdisjoint(self._compiled)

    def _locate(self, names: tuple[str, ...]) -> Sequence[str]:
        """Add every file that importing *names* may run; return the folders of the innermost package."""
        places: Sequence[str] = self._roots
        for depth, name in enumerate(names):
            for place in places:
                stem = place + name
                self._add(f"{stem}.py", names[:depth])
                self._add(self._compiled.get(stem), names[:depth])
                self._add(f"{stem}/__init__.py", names[: depth + 1])
                self._add(self._compiled.get(f"{stem}/__init__"), names[: depth + 1])
            places = [f"{place}{name}/" for place in places if f"{place}{name}/" in self._folders]
        return places

    def _members(self, folders: Sequence[str]) -> set[str]:
        """The names of the modules and packages directly inside *folders*."""
        return {
            _stem(path)[len(folder) :].partition("/")[0]
            for folder in folders
            for path in self._files
            if path.startswith(folder)
        }

    def _add(self, path: str | None, package: tuple[str, ...]) -> None:
        if path is not None and path in self._files and (path, package) not in self._found:
            self._found[path, package] = None
            self._pending.append((path, package))


def _folder(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _stem(path: str) -> str:
    """``a/fast.cpython-311-x86_64-linux-gnu.so`` is ``a/fast``."""
    folder = _folder(path)
    return folder + path[len(folder) :].partition(".")[0]
