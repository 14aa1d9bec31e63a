"""What a Python interpreter offers to code that imports something.

A step that runs in an installed Python depends on the distributions that its code imports and on
their requirements. They are named here with their versions, without importing any of them. An index
of what is installed is kept between calls under the modification times of the folders on the path:
installing, upgrading or removing a distribution creates and removes entries there, so it makes
another key. Editing files of an installed distribution by hand does not, and is not noticed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import re
import sys
import sysconfig
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

INDEX_VERSION = 1
"""Goes up whenever the remembered documents change their meaning."""

# Offered to every step by the runtime, whose contract has its own version in the recipe.
_OWN_MODULES = frozenset({"airflow_mlpipe"})
_OWN_DISTRIBUTION = "airflow-mlpipe"
_RACY_NS = 2_000_000_000  # a folder changed this recently may change again within its timestamp's grain
_MOST_FILES = 2_000
_MOST_BYTES = 64 * 2**20
# What makes the imports of a plain file unknowable; crude, and on the safe side.
_DYNAMIC_MODULES = frozenset(
    {"importlib", "imp", "pkgutil", "runpy", "subprocess", "pickle", "joblib", "dill"}
)
_DYNAMIC_NAMES = frozenset({"__import__", "exec", "eval", "compile"})


class Memory(Protocol):
    """Remembers derived facts between calls; forgetting one costs time and nothing else."""

    def lookup(self, kind: str, key: str) -> str | None:
        """What was remembered last under *kind* and *key*, or None."""

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep *value* under *kind* and *key*."""


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
    paths: Sequence[str] | None = None,
    remember: Memory | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ImportedDistributions:
    """What code depends on that imports the top-level *modules*.

    The standard library counts for nothing (the Python version is in the recipe by itself), nor does
    this package. An imported distribution brings its installed requirements with it, markers
    evaluated for this interpreter, extras where a requirement asks for them. *paths* are the folders
    to look in, first one first; by default ``sys.path`` without the standard library's. *clock* tells
    the time in nanoseconds since the epoch.
    """
    path = _search_path(paths)
    return _Description(path, _index(path, remember, clock), remember).of_modules(modules)


def describe_everything(
    *,
    paths: Sequence[str] | None = None,
    remember: Memory | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> ImportedDistributions:
    """Every distribution in *paths*: what code depends on whose imports cannot be told.

    Modules that belong to no distribution are not among them; :func:`describe_imports` tells those
    that are imported by name.
    """
    path = _search_path(paths)
    return _Description(path, _index(path, remember, clock), remember).of_everything()


class _Installed(NamedTuple):
    """One distribution. ``location`` is the folder on the path; ``editable`` its source, or "".

    ``modules`` are its top-level ones. A ``hooked`` distribution is editable and does not tell them.
    """

    version: str
    location: str
    editable: str
    modules: list[str]
    hooked: bool


@dataclass(frozen=True)
class _Index:
    """What is installed, by normalised name.

    ``key`` stands for the state of the path; None while that is too young to be told from the next.
    """

    key: str | None
    installed: dict[str, _Installed]

    @cached_property
    def owners(self) -> dict[str, list[str]]:
        """The distributions that provide each top-level module."""
        owners: defaultdict[str, list[str]] = defaultdict(list)
        for name, found in self.installed.items():
            for module in found.modules:
                owners[module].append(name)
        return dict(owners)

    @property
    def hooked(self) -> list[str]:
        return [name for name, found in self.installed.items() if found.hooked]


class _Description:
    def __init__(self, path: tuple[str, ...], index: _Index, memory: Memory | None) -> None:
        self._path = path
        self._index = index
        self._memory = memory
        self._versions: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._roots: set[str] = set()

    def of_modules(self, modules: Iterable[str]) -> ImportedDistributions:
        PathFinder.invalidate_caches()  # its listings of folders are as coarse as their timestamps
        pending, seen = list(modules), set(_OWN_MODULES)
        while pending:
            module = pending.pop()
            if module not in seen and module not in sys.stdlib_module_names:
                seen.add(module)
                pending += self._module(module)
        for name in self._closure():
            self._distribution(name)
        return self._result()

    def of_everything(self) -> ImportedDistributions:
        for name in self._index.installed:
            self._distribution(name)
        return self._result()

    def _result(self) -> ImportedDistributions:
        return ImportedDistributions(
            dict(sorted(self._versions.items())), dict(sorted(self._unknown.items()))
        )

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

    def _module(self, module: str) -> Iterable[str]:
        """Note who provides *module*; return the modules that it imports, when nobody else tells."""
        owners = self._index.owners.get(module, [])
        spec = PathFinder.find_spec(module, list(self._path))
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
        return self._plain(module, places) if places else ()

    def _belongs(self, owners: list[str], place: Path) -> bool:
        return any(self._index.installed[name].location == str(place.parent) for name in owners)

    def _plain(self, module: str, places: list[Path]) -> Iterable[str]:
        """Note the contents of a module that belongs to no distribution, and return what it imports."""
        try:
            digest, imported = _tree(places)
        except _UntellableError as error:
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
            for required in _requirements(name, self._index.installed[name].location):
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


def _search_path(paths: Sequence[str] | None) -> tuple[str, ...]:
    """The existing folders to look in, absolute, with those that ``.pth`` files add."""
    if paths is None:
        standard = {
            sysconfig.get_path("stdlib"),
            sysconfig.get_path("platstdlib"),
            sysconfig.get_config_var("DESTSHARED"),
        }
        found = [place for place in sys.path if place and place not in standard]
    else:
        found = [place for given in paths for place in (given, *_added_by_pth(Path(given)))]
    return tuple(dict.fromkeys(str(Path(place).absolute()) for place in found if Path(place).is_dir()))


def _added_by_pth(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.pth")):
        for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield str(folder / line.strip())


def _index(path: tuple[str, ...], memory: Memory | None, clock: Callable[[], int]) -> _Index:
    """Each folder is indexed by itself, so that one that changes all the time costs only itself."""
    keys: list[str | None] = []
    installed: dict[str, _Installed] = {}
    for folder in path:
        key, found = _index_folder(folder, memory, clock)
        keys.append(key)
        installed = found | installed  # the first one on the path hides the others
    if None in keys:
        return _Index(None, installed)
    return _Index(hashlib.sha256(json.dumps(keys).encode()).hexdigest(), installed)


def _index_folder(
    folder: str, memory: Memory | None, clock: Callable[[], int]
) -> tuple[str | None, dict[str, _Installed]]:
    """The distributions in one folder, and a key for its state: see :class:`_Index`."""
    state = _state(folder)
    facts = [INDEX_VERSION, platform.python_implementation(), platform.python_version(), folder, state]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    if memory is not None and (text := memory.lookup("interpreter", key)) is not None:
        return key, {name: _Installed(*item) for name, item in json.loads(text).items()}
    installed = _read_folder(folder)
    if _state(folder) != state or clock() - max(state[1:]) < _RACY_NS:
        return None if installed else "nothing installed", installed
    if memory is not None:
        memory.remember("interpreter", key, json.dumps(installed, separators=(",", ":")))
    return key, installed


def _state(folder: str) -> tuple[int, int, int]:
    state = Path(folder).stat()
    return state.st_ino, state.st_mtime_ns, state.st_ctime_ns


def _read_folder(folder: str) -> dict[str, _Installed]:
    PathFinder.invalidate_caches()  # its listings of folders are as coarse as their timestamps
    installed: dict[str, _Installed] = {}
    for distribution in distributions(path=[folder]):
        given = distribution.metadata["Name"]
        if given:  # or it is what was left of one that is gone
            installed.setdefault(canonicalize_name(given), _describe(distribution))
    return installed


def _describe(distribution: Distribution) -> _Installed:
    record = distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""
    direct = distribution.read_text("direct_url.json")
    location = str(distribution.locate_file(""))
    version, editable = distribution.version, ""
    if direct is not None:
        document: dict[str, Any] = json.loads(direct)
        if document.get("dir_info", {}).get("editable"):
            editable = unquote(urlsplit(document["url"]).path)
        else:
            lines = sorted(line for line in record.splitlines() if _is_code(line)) or [direct]
            version += " sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
    elif distribution.read_text("PKG-INFO") and Path(location).name not in {"site-packages", "dist-packages"}:
        editable = location  # "setup.py develop"
    modules = _provided(distribution, record)
    hooked = editable != "" and not modules and _has_hook(distribution, record)
    return _Installed(version, location, editable, modules, hooked)


def _is_code(line: str) -> bool:
    """Whether a line of RECORD is about a file of the package, and the same on every machine."""
    first, _, rest = line.partition(",")[0].partition("/")
    return first != ".." and not first.endswith(".dist-info") and not (first + rest).endswith(".pyc")


def _provided(distribution: Distribution, record: str) -> list[str]:
    """The top-level modules of a distribution."""
    names = set((distribution.read_text("top_level.txt") or "").split())
    for line in record.splitlines():
        first, _, rest = line.partition(",")[0].partition("/")
        stem, _, suffix = first.partition(".")
        if (rest and not suffix) or (not rest and suffix.endswith(("py", "so", "pyd"))):
            names.add(stem)
    return sorted(name for name in names if name.isidentifier() and name != "__pycache__")


def _has_hook(distribution: Distribution, record: str) -> bool:
    """Whether a ``.pth`` file of the distribution runs code, which may then find modules anywhere."""
    for line in record.splitlines():
        name = line.partition(",")[0]
        if name.endswith(".pth"):
            file = Path(str(distribution.locate_file(name)))
            if file.is_file() and file.read_text(encoding="utf-8", errors="replace").startswith("import"):
                return True
    return False


def _holds(name: str, found: _Installed, folders: set[str]) -> bool:
    """Whether one of *folders* is part of the source of an editable distribution."""
    return (
        found.editable != ""
        and name != _OWN_DISTRIBUTION
        and any(Path(folder).is_relative_to(found.editable) for folder in folders)
    )


def _requirements(name: str, location: str) -> Iterator[Requirement]:
    for distribution in distributions(name=name, path=[location]):
        for text in distribution.requires or ():
            try:
                yield Requirement(text)
            except InvalidRequirement:  # written by a tool of old; the name is all that matters here
                if leading := re.match(r"[A-Za-z0-9][\w.-]*", text):
                    yield Requirement(leading[0].rstrip("-._"))
        return


class _UntellableError(Exception):
    """Why the contents of a plain module cannot be told; completes a sentence."""


def _tree(places: list[Path]) -> tuple[str, set[str]]:
    """The digest of all files of a plain module, and the top-level modules that they import."""
    digest, imported = hashlib.sha256(b"tree:1:"), set()
    count = size = 0
    for relative, path in (item for place in places for item in _files(place)):
        count, size = count + 1, size + path.stat().st_size
        if count > _MOST_FILES or size > _MOST_BYTES:
            raise _UntellableError(f"it has more than {_MOST_FILES} files or {_MOST_BYTES // 2**20} MiB")
        data = path.read_bytes()
        name = relative.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%s%s" % (len(name), name, hashlib.sha256(data).digest()))
        if path.suffix == ".py":
            imported |= _imports(relative, data)
        elif path.suffix in (".so", ".pyd"):
            raise _UntellableError(f"the imports of the compiled {relative} cannot be seen")
    return digest.hexdigest(), imported


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield place.name, place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix != ".pyc" and path.is_file():
                yield path.relative_to(place.parent).as_posix(), path


def _imports(relative: str, data: bytes) -> set[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data, relative)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _UntellableError(f"{relative} cannot be parsed") from error
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Name) and node.id in _DYNAMIC_NAMES:
            raise _UntellableError(f"{relative} uses {node.id}, so that its imports cannot be seen")
    if dynamic := sorted(imported & _DYNAMIC_MODULES):
        raise _UntellableError(f"{relative} imports {dynamic[0]}, so that its imports cannot be seen")
    return imported
