"""Where a step's code lies: in its source directory and, beside it, at the root of the DAG bundle.

The name of a file is its path relative to the source directory; for a file that comes along from the
bundle it is "@bundle/" and its path relative to the bundle's root. A file that was made for the step and
lies nowhere, such as the module cut out for a function, is below "@function/". Recipes and snapshots use
these names, and a snapshot is unpacked by them: a step's own copy of its code has what came along below the
folder ``@bundle``, which is on the step's PYTHONPATH.
"""

from __future__ import annotations

import copy
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.ignore import list_files

BUNDLE = "@bundle/"
FUNCTION = "@function/"


def is_python(name: str) -> bool:
    """Whether the file is Python source. A stub (``.pyi``) is not: nothing runs it."""
    return name.endswith(".py")


def is_compiled(name: str) -> bool:
    """Whether the file may be a compiled module, whose imports nobody can see."""
    return name.endswith((".so", ".pyd"))


def names_only_data(path: str) -> bool:
    """Whether *path*, which may be a pattern, ends like a file that is not Python's, such as "*.csv"."""
    suffix = PurePosixPath(path).suffix
    return re.fullmatch(r"\.\w+", suffix) is not None and not suffix.startswith(".py")


class Listing:
    """Files by name, folder by folder. A folder is written with its slash, the outermost one as ""."""

    def __init__(self, files: Iterable[str]) -> None:
        self._folders: defaultdict[str, set[str]] = defaultdict(set)
        for file in files:
            folder, _, name = file.rpartition("/")
            self._folders[folder and folder + "/"].add(name)
            while folder:
                around, _, name = folder.rpartition("/")
                self._folders[around and around + "/"].add(name + "/")
                folder = around
        self._modules: dict[str, dict[str, list[str]]] = {}

    def modules(self, folder: str) -> Mapping[str, Sequence[str]]:
        """What may be imported from directly inside *folder*, by its name in an import statement.

        For each: files, and at most one folder with a slash, which need not be a package.
        """
        if folder not in self._modules:
            self._modules[folder] = _importable(self._folders.get(folder, ()))
        return self._modules[folder]

    def package(self, folder: str) -> tuple[str, ...]:
        """The names of all files below *folder*, sorted."""
        below = (
            self.package(folder + name) if name.endswith("/") else (folder + name,)
            for name in self._folders.get(folder, ())
        )
        return tuple(sorted(file for files in below for file in files))


class CodeTree:
    """The files in *directory*, its snapshot, and those that can come along from *bundle*.

    A step without a source directory has None, and no files but those that are made for it. The bundle's
    root is never listed as a whole: a folder of it is looked at when something is imported from there.
    DefinitionError as ``list_files`` raises it, and when the directory holds something of the names that are
    kept for what is not its own.
    """

    def __init__(self, directory: Path | None, bundle: Path | None = None) -> None:
        self.directory = directory
        self.files = () if directory is None else tuple(map(str, list_files(directory)))
        """The snapshot of the directory and the files made for the step, sorted."""
        self.generated: Mapping[str, bytes] = {}
        """The content of the files that were made for the step, by name."""
        self._bundle = bundle
        self._listing = Listing(self.files)
        self._bundle_modules: dict[str, dict[str, list[str]]] = {}
        for kept in (BUNDLE, FUNCTION):
            if directory is not None and (directory / kept).exists():
                raise DefinitionError(
                    f"the source directory {str(directory)!r} holds a folder {kept!r}, which is the place of "
                    "code that does not come from there; rename it"
                )

    def with_generated(self, generated: Mapping[str, bytes]) -> CodeTree:
        """This tree and the files *generated*, whose names begin with "@function/"."""
        tree = copy.copy(self)
        tree.files = tuple(sorted({*self.files, *generated}))
        tree.generated = generated
        tree._listing = Listing(tree.files)
        return tree

    def path(self, name: str) -> Path:
        """Where the file *name*, which was not made for the step, lies."""
        root, inside = self.directory, name
        if name.startswith(BUNDLE):
            root, inside = self._bundle or root, name[len(BUNDLE) :]
        assert root is not None  # or there would be no such file
        return root / inside

    def modules(self, folder: str) -> Mapping[str, Sequence[str]]:
        """As :meth:`Listing.modules`; a folder of the bundle that cannot be read is an empty one."""
        if not folder.startswith(BUNDLE):
            return self._listing.modules(folder)
        if folder not in self._bundle_modules:
            names = () if self._bundle is None else _scan(self.path(folder))
            self._bundle_modules[folder] = _importable(names)
        return self._bundle_modules[folder]

    def package(self, folder: str) -> tuple[str, ...]:
        """As :meth:`Listing.package`; of the bundle's files those that ``list_files`` lists."""
        if not folder.startswith(BUNDLE):
            return self._listing.package(folder)
        return tuple(folder + str(file) for file in list_files(self.path(folder)))

    def below(self, path: str) -> tuple[str, ...]:
        """The files of the directory that code may list by *path*, which is relative and normal.

        Those in the innermost folder that it leads to: for "plugins/*", and for "plugins/part_" as the
        beginning of a path, the folder "plugins". None when it names a file, or can name only data.
        """
        if path.startswith((BUNDLE, FUNCTION)):
            return ()
        parts = path.split("/")
        for depth in range(len(parts), 0, -1):
            if files := self.package("/".join(parts[:depth]) + "/"):
                return files
            if names_only_data(path):
                return ()
        return ()


def _importable(names: Iterable[str]) -> dict[str, list[str]]:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if name.endswith("/"):
            modules[name[:-1]].append(name)
        elif is_python(name):
            modules[name[: -len(".py")]].append(name)
        elif is_compiled(name):
            modules[name.partition(".")[0]].append(name)  # fast.cpython-311-x86_64-linux-gnu.so
    return dict(modules)


def _scan(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return set()
    folders = {entry.name + "/" for entry in found if entry.is_dir()}
    return folders | {entry.name for entry in found if entry.is_file()}
