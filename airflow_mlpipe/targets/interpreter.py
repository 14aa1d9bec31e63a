"""What a Python interpreter offers to code that imports something.

A step that runs in an installed Python depends on the distributions that its code imports and on
their requirements. They are named here with their versions, without importing any of them. A module
that no distribution owns, such as one in a folder that PYTHONPATH names, counts by its files.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from itertools import takewhile
from pathlib import Path

from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from airflow_mlpipe.targets.installed import SITE_FOLDERS, Installed, Memory, index_of, requirements
from airflow_mlpipe.targets.plain_modules import (
    UntellableError,
    holds_code,
    imported_by,
    is_namespace,
    modules_in,
    tree_digest,
)

# Offered to every step by the runtime, whose contract has its own version in the recipe.
_OWN_MODULES = frozenset({"airflow_mlpipe"})
_OWN_DISTRIBUTION = "airflow-mlpipe"
_STANDARD = sys.stdlib_module_names
# Python imports these two by itself when it finds them.
_IMPORTED_AT_START = ("sitecustomize", "usercustomize")


@dataclass(frozen=True)
class ImportedDistributions:
    """The part of an environment that some code depends on.

    ``versions`` maps, sorted by key: the normalised name of a distribution to its version (followed by
    " sha256:<hex>" of its installed files when it did not come from an index, because such a version
    may be installed twice with different contents); "module:<name>" to "tree:<hex>" for a module on
    the path that belongs to no distribution; "missing:<name>" to "" for a module that is not there, so
    that installing it later makes a difference. ``unknown`` maps a module or distribution to the
    sentence that says why its contents cannot be told; then the step is not reusable.
    """

    versions: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def describe_imports(
    modules: Iterable[str],
    *,
    paths: Sequence[str],
    remember: Memory | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ImportedDistributions:
    """What code depends on that imports the top-level *modules*.

    The standard library counts for nothing (the Python version is in the recipe by itself), nor does
    this package. An imported distribution brings its installed requirements with it, markers
    evaluated for this interpreter, extras where a requirement asks for them. *paths* are the places
    to look in, first one first, without the standard library's. *clock* tells the time in nanoseconds
    since the epoch.
    """
    description = _Description(paths, remember, clock)
    description.add_imports(modules, follow=True)
    return description.result()


def describe_everything(
    modules: Iterable[str],
    *,
    paths: Sequence[str],
    remember: Memory | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ImportedDistributions:
    """What code depends on that imports *modules* and others that cannot be told.

    That is every distribution in *paths*, and every module there that belongs to none, except for
    those that were put by hand among the installed ones and are not imported by name.
    """
    description = _Description(paths, remember, clock)
    description.add_imports(modules, follow=False)
    description.add_all()
    return description.result()


def installed_modules(
    *, paths: Sequence[str], remember: Memory | None = None, clock: Callable[[], int] = time.time_ns
) -> frozenset[str]:
    """Every top-level module that *paths* may provide."""
    return index_of(_folders(paths), remember, clock).modules


class _Description:
    def __init__(self, paths: Sequence[str], memory: Memory | None, clock: Callable[[], int]) -> None:
        self._path = _folders(paths)
        self._index = index_of(self._path, memory, clock)
        self._memory = memory
        self._versions: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._roots: set[str] = set()
        self._seen = set(_OWN_MODULES)
        for archive in (Path(place) for place in paths if Path(place).is_file()):
            self._unknown[archive.name] = (
                f"{archive} on the module search path is an archive, whose modules cannot be told; unpack it"
            )
        PathFinder.invalidate_caches()  # its listings of folders are as coarse as their timestamps

    def add_imports(self, modules: Iterable[str], *, follow: bool) -> None:
        """Note *modules*; with *follow* also what those import that nobody else tells of."""
        pending = [name for name in modules if name not in _STANDARD]
        pending += (name for name in _IMPORTED_AT_START if self._find(name) is not None)
        pending += self._hiding_others()
        while pending:
            module = pending.pop()
            if module not in self._seen:
                self._seen.add(module)
                imported = self._module(module, follow=follow)
                pending += (name for name in imported if name not in _STANDARD)
        for name in self._closure():
            self._distribution(name)

    def add_all(self) -> None:
        """Note all that is installed, and the plain modules beside."""
        for name in self._index.installed:
            self._distribution(name)
        plain: defaultdict[str, list[Path]] = defaultdict(list)
        for folder in filter(self._is_plain, self._path):
            for module, place in modules_in(folder):
                if not self._belongs(self._index.owners.get(module, []), place) and holds_code(place):
                    plain[module].append(place)
        for module, places in plain.items():
            if module not in self._seen:
                self._plain(module, places, follow=False)

    def _is_plain(self, folder: str) -> bool:
        """Whether what lies in *folder* need not be a part of some distribution."""
        sources = (found.editable for found in self._index.installed.values() if found.editable)
        is_source = any(Path(folder).is_relative_to(source) for source in sources)
        return Path(folder).name not in SITE_FOLDERS and not is_source

    def _hiding_others(self) -> Iterator[str]:
        """Modules that come before installed or standard ones of the same name; libraries get them, too."""
        for folder in takewhile(self._is_plain, self._path):
            for module, place in modules_in(folder):
                owners = (self._index.installed[name] for name in self._index.owners.get(module, ()))
                is_elsewhere = module in _STANDARD or any(owner.location != folder for owner in owners)
                if is_elsewhere and not is_namespace(place):
                    yield module

    def result(self) -> ImportedDistributions:
        return ImportedDistributions(
            dict(sorted(self._versions.items())), dict(sorted(self._unknown.items()))
        )

    def _find(self, module: str) -> ModuleSpec | None:
        return PathFinder.find_spec(module, list(self._path))

    def _distribution(self, name: str) -> None:
        found = self._index.installed[name]
        if name == _OWN_DISTRIBUTION:
            return
        self._versions[name] = found.version
        if found.editable:
            self._unknown[name] = (
                f"{name} is installed in editable mode from {found.editable}, so its version does not tell "
                "its contents; install it without --editable, or copy it into the source directory"
            )

    def _module(self, module: str, *, follow: bool) -> Iterable[str]:
        """Note who provides *module*; return the modules that it imports, when nobody else tells."""
        owners = self._index.owners.get(module, [])
        spec = self._find(module)
        if spec is None:
            if owners:
                self._roots.update(owners)
            elif self._index.hooked:
                self._unknown[module] = (
                    f"{module} is not found, and the editable {', '.join(self._index.hooked)} may provide it "
                    "in a way that is not written down; install it without --editable"
                )
            else:
                self._versions[f"missing:{module}"] = ""
            return ()
        if spec.origin is None or spec.submodule_search_locations is not None:
            places = [Path(place) for place in spec.submodule_search_locations or ()]
        else:
            places = [Path(spec.origin)]
        folders = {str(place.parent) for place in places}
        if any(self._index.installed[name].location in folders for name in owners):
            self._roots.update(owners)
            places = [place for place in places if not self._belongs(owners, place)]
        elif editable := [
            name for name, found in self._index.installed.items() if _holds(name, found, folders)
        ]:
            self._roots.update(editable)
            return ()
        return self._plain(module, places, follow=follow) if places else ()

    def _belongs(self, owners: list[str], place: Path) -> bool:
        return any(self._index.installed[name].location == str(place.parent) for name in owners)

    def _plain(self, module: str, places: list[Path], *, follow: bool) -> Iterable[str]:
        """Note the contents of a module that belongs to no distribution, and return what it imports."""
        try:
            digest = tree_digest(places)
            imported = imported_by(places) if follow else set()
        except UntellableError as error:
            self._unknown[module] = (
                f"{module} at {places[0]} belongs to no distribution, and {error}; "
                "install it as a package, or copy it into the source directory"
            )
            return ()
        self._versions[f"module:{module}"] = f"tree:{digest}"
        return imported

    def _closure(self) -> list[str]:
        """The distributions noted so far and their installed requirements."""
        if self._memory is None or self._index.key is None:
            return self._compute_closure()
        key = hashlib.sha256(json.dumps([self._index.key, sorted(self._roots)]).encode()).hexdigest()
        text = self._memory.lookup("requirements", key)
        if text is None:
            text = json.dumps(self._compute_closure())
            self._memory.remember("requirements", key, text)
        names: list[str] = json.loads(text)
        return names

    def _compute_closure(self) -> list[str]:
        environment = {name: str(value) for name, value in default_environment().items()}
        pending: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in self._roots]
        seen = set(pending)
        while pending:
            name, extras = pending.pop()
            for required in requirements(name, self._index.installed[name].location):
                marker = required.marker
                if marker is not None and not any(
                    marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
                ):
                    continue
                item = canonicalize_name(required.name), frozenset(required.extras)
                if item[0] in self._index.installed and item not in seen:
                    seen.add(item)
                    pending.append(item)
        return sorted({name for name, _ in seen})


def _folders(paths: Sequence[str]) -> tuple[str, ...]:
    """The existing folders among *paths*, absolute."""
    return tuple(dict.fromkeys(str(Path(place).absolute()) for place in paths if Path(place).is_dir()))


def _holds(name: str, found: Installed, folders: set[str]) -> bool:
    """Whether one of *folders* is part of the source of an editable distribution."""
    return (
        found.editable != ""
        and name != _OWN_DISTRIBUTION
        and any(Path(folder).is_relative_to(found.editable) for folder in folders)
    )
