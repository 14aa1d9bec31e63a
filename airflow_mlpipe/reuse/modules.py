"""Which files a step's entry script can reach by import.

Nothing is imported here: listings and import statements come in, and the names of the files that the
statements may mean go out. All branches count, so do imports inside functions, and where several
files could be meant all of them count: what is reached is a superset of what a run loads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from airflow_mlpipe.reuse.code_tree import BUNDLE, is_compiled, is_python
from airflow_mlpipe.reuse.syntax import ImportedName

# Python imports these two by itself when their folder is on PYTHONPATH.
_IMPORTED_AT_START = ("sitecustomize", "usercustomize")
# Any library may import any module, except for tests, which some leave behind at the top level.
_NEVER_IMPORTED_BY_OTHERS = frozenset({"test", "tests"})
# What never comes along from the bundle: it would hide the one that every step has.
_NEVER_FROM_BUNDLE = sys.stdlib_module_names | {"airflow_mlpipe", *_IMPORTED_AT_START}


class Tree(Protocol):
    """The files that code may consist of; see :class:`~airflow_mlpipe.reuse.code_tree.Listing`."""

    def modules(self, folder: str) -> Mapping[str, Sequence[str]]: ...

    def package(self, folder: str) -> Sequence[str]: ...


@dataclass(frozen=True)
class Reach:
    """What an entry script reaches.

    ``files`` are Python files, the entry included, and compiled modules. ``external`` are dotted names
    that another place on the path may have to provide. A name that only a folder without
    ``__init__.py`` provides is among them, because an installed package comes before such a folder;
    so is a name that only a place provides where Python may not look.
    """

    files: frozenset[str]
    external: frozenset[str]


def reach(
    starts: Sequence[str],
    path: Sequence[str],
    tree: Tree,
    imports_of: Callable[[str], Sequence[ImportedName]],
    *,
    installed: Collection[str] = (),
    whole_packages: bool = False,
) -> Reach:
    """Follow the imports of the files *starts* through *tree*.

    *path* are the folders in which Python looks for modules: the entry script's own first, then those
    that PYTHONPATH names. The source directory's own folder is taken for another, since a program may
    look there. After these comes the bundle: it provides what they surely do not, and no module of
    the standard library.

    A library imports what is first on the path, too. So local modules named like one of the standard
    library's or of the *installed* top-level modules are reached in any case.

    *whole_packages* is for imports that cannot be told: a regular package of the bundle is then
    reached as a whole as soon as any of its modules is.

    *imports_of* is called once for each Python file that is reached, and for no other; a start is
    Python whatever its name.
    """
    search = _Search(tuple(path), tree, frozenset(installed), whole_packages)
    return search.run(starts, imports_of)


class _Search:
    """Folders are written with their slash, the source directory as "". Module names are tuples."""

    def __init__(
        self, path: tuple[str, ...], tree: Tree, installed: frozenset[str], whole_packages: bool
    ) -> None:
        self._path = path
        self._tree = tree
        self._hidden = (sys.stdlib_module_names | installed) - _NEVER_IMPORTED_BY_OTHERS
        self._whole_packages = whole_packages
        self._roots = tuple(dict.fromkeys((*path, "")))
        self._found: dict[tuple[str, tuple[str, ...]], None] = {}  # a file, and the package it is loaded in
        self._pending: list[tuple[str, tuple[str, ...]]] = []
        self._external: set[str] = set()
        self._whole: set[str] = set()  # packages of the bundle that were added as a whole

    def run(self, starts: Sequence[str], imports_of: Callable[[str], Sequence[ImportedName]]) -> Reach:
        known: dict[str, Sequence[ImportedName]] = {}
        for file in starts:
            home = self._path[0] if file.startswith(self._path[0]) else ""
            self._add_from(home, file)
        for names in self._loaded_by_others():
            self._locate(names, self._roots)
        while self._pending:
            file, package = self._pending.pop()
            if file not in starts and not is_python(file):
                continue
            if file not in known:
                known[file] = imports_of(file)
            for statement in known[file]:
                self._follow(statement, package)
        return Reach(frozenset(file for file, _ in self._found), frozenset(self._external))

    def _loaded_by_others(self) -> Iterator[tuple[str, ...]]:
        for name in _IMPORTED_AT_START:
            yield (name,)
        for place in self._path:
            for name in self._hidden & self._tree.modules(place).keys():
                if self._is_provided(place, name):
                    yield (name,)
                    for file in self._tree.package(f"{place}{name}/"):
                        yield tuple(file[len(place) :].partition(".")[0].split("/"))

    def _follow(self, statement: ImportedName, package: tuple[str, ...]) -> None:
        names = tuple(statement.module.split(".")) if statement.module else ()
        if statement.level:
            depth = len(package) - (statement.level - 1)
            if depth < 0:
                return  # beyond the top-level package: Python refuses, too
            names = package[:depth] + names
        elif names[0] == "__main__":
            return  # the entry script, which is reached
        elif not any(self._is_provided(place, names[0]) for place in self._certain_places(names[0])):
            self._external.add(".".join(names))
        places = self._places(names[0] if names else statement.name or "")
        inside = self._locate(names, places)
        if statement.name == "*":
            # __all__ may name any of the submodules.
            for name in {name for place in inside for name in self._tree.modules(place)}:
                self._locate((*names, name), places)
        elif statement.name is not None:
            self._locate((*names, statement.name), places)

    def _certain_places(self, name: str) -> tuple[str, ...]:
        """The places that come before all that is installed."""
        return (self._path[0],) if name in _NEVER_FROM_BUNDLE else (self._path[0], BUNDLE)

    def _places(self, name: str) -> tuple[str, ...]:
        """The places that may provide the top-level module *name*."""
        if name in _NEVER_FROM_BUNDLE or self._is_provided(self._path[0], name):
            return self._roots
        return (*self._roots, BUNDLE)

    def _is_provided(self, place: str, name: str) -> bool:
        """Whether *place* has a module or regular package *name*, rather than a mere folder."""
        return any(
            not entry.endswith("/") or "__init__" in self._tree.modules(place + entry)
            for entry in self._tree.modules(place).get(name, ())
        )

    def _locate(self, names: tuple[str, ...], places: Sequence[str]) -> Sequence[str]:
        """Add every file that importing *names* from *places* may run; return the innermost folders."""
        for depth, name in enumerate(names):
            inner = []
            for place in places:
                for entry in self._tree.modules(place).get(name, ()):
                    if entry.endswith("/"):
                        inner.append(place + entry)
                        for init in self._tree.modules(place + entry).get("__init__", ()):
                            self._add(place + entry + init, names[: depth + 1])
                    else:
                        self._add(place + entry, names[:depth])
            places = inner
        return places

    def _add(self, file: str, package: tuple[str, ...]) -> None:
        if file.endswith("/") or (file, package) in self._found:
            return
        self._found[file, package] = None
        self._pending.append((file, package))
        if self._whole_packages and file.startswith(BUNDLE):
            self._add_package_around(file)

    def _add_from(self, root: str, file: str) -> None:
        """Add *file* as it is loaded when the folder *root* is on the path."""
        self._add(file, tuple(file[len(root) :].split("/")[:-1]))

    def _add_package_around(self, file: str) -> None:
        """Add all of the outermost regular package of the bundle that *file* is in, if any."""
        inside = file[len(BUNDLE) :].split("/")[:-1]
        around = (BUNDLE + "/".join(inside[: depth + 1]) + "/" for depth in range(len(inside)))
        package = next((place for place in around if "__init__" in self._tree.modules(place)), None)
        if package is not None and package not in self._whole:
            self._whole.add(package)
            for inner in self._tree.package(package):
                if is_python(inner) or is_compiled(inner):
                    self._add_from(BUNDLE, inner)
