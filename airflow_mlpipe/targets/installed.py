"""The distributions that are installed in the folders of a module search path.

An index of each folder is kept between calls under the folder's modification time: installing, upgrading
or removing a distribution creates and removes entries there, so it makes another key. Editing files of an
installed distribution by hand does not, and is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from airflow_mlpipe.targets.plain_modules import modules_in

INDEX_VERSION = 2
"""Goes up whenever the remembered documents change their meaning."""
RACY_NS = 2_000_000_000
"""A folder that changed this recently may change again within the grain of its timestamp."""
SITE_FOLDERS = frozenset({"site-packages", "dist-packages"})
"""Where installed distributions lie; what lies there besides was put there by hand."""

_MOST_INDEXES = 16


class Memory(Protocol):
    """Remembers derived facts between calls; forgetting one costs time and nothing else."""

    def lookup(self, kind: str, key: str) -> str | None:
        """What was remembered last under *kind* and *key*, or None."""

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep *value* under *kind* and *key*."""


class Installed(NamedTuple):
    """One distribution. ``location`` is the folder on the path; ``editable`` its source, or "".

    ``version`` is followed by " sha256:<hex>" of the installed files when the distribution did not come
    from an index, because such a version may be installed twice with different contents. ``modules`` are
    the top-level ones. A ``hooked`` distribution is editable and does not tell them.
    """

    version: str
    location: str
    editable: str
    modules: list[str]
    hooked: bool


@dataclass(frozen=True)
class Index:
    """What is installed, by normalised name, and all ``names`` that may be imported from the folders.

    ``key`` stands for the state of what is installed; None while that is too young to be told from the
    next.
    """

    key: str | None
    installed: dict[str, Installed]
    names: frozenset[str]

    @cached_property
    def owners(self) -> dict[str, list[str]]:
        """The distributions that provide each top-level module."""
        owners: defaultdict[str, list[str]] = defaultdict(list)
        for name, found in self.installed.items():
            for module in found.modules:
                owners[module].append(name)
        return dict(owners)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Every top-level module that may be there."""
        return self.names.union(self.owners)

    @cached_property
    def hooked(self) -> list[str]:
        """Distributions that may provide any module."""
        return [name for name, found in self.installed.items() if found.hooked]


# Equal states have equal indexes, and a plan prepares two hundred steps with one path.
_known: dict[tuple[str, ...], Index] = {}


def index_of(path: Sequence[str], memory: Memory | None, clock: Callable[[], int]) -> Index:
    """What is installed in the folders *path*, all of which are there; the first one hides the others.

    *clock* tells the time in nanoseconds since the epoch.
    """
    states = tuple(_state_key(folder) for folder in path)
    if states in _known:
        return _known[states]
    folders = [
        _index_folder(folder, state, memory, clock) for folder, state in zip(path, states, strict=True)
    ]
    installed: dict[str, Installed] = {}
    for folder in reversed(folders):
        installed.update(folder.installed)
    keys = [folder.key if folder.installed else "nothing installed" for folder in folders]
    key = None if None in keys else hashlib.sha256(json.dumps(keys).encode()).hexdigest()
    index = Index(key, installed, frozenset().union(*(folder.names for folder in folders)))
    if all(folder.key is not None for folder in folders):
        if len(_known) >= _MOST_INDEXES:
            _known.clear()
        _known[states] = index
    return index


def requirements(name: str, location: str) -> Iterator[Requirement]:
    """What the distribution *name* in the folder *location* requires, whatever its markers say."""
    for distribution in distributions(name=name, path=[location]):
        for text in distribution.requires or ():
            try:
                yield Requirement(text)
            except InvalidRequirement:  # written by a tool of old; the name is all that matters here
                if leading := re.match(r"[A-Za-z0-9][\w.-]*", text):
                    yield Requirement(leading[0].rstrip("-._"))
        return


def _index_folder(folder: str, key: str, memory: Memory | None, clock: Callable[[], int]) -> Index:
    if memory is not None and (text := memory.lookup("interpreter", key)) is not None:
        names, installed = json.loads(text)
        found = {name: Installed(*item) for name, item in installed.items()}
        return Index(key, found, frozenset(names))
    found = _read_folder(folder)
    names = sorted({name for name, _ in modules_in(folder)})
    if _state_key(folder) != key or clock() - max(_state(folder)[1:]) < RACY_NS:
        return Index(None, found, frozenset(names))
    if memory is not None:
        memory.remember("interpreter", key, json.dumps([names, found], separators=(",", ":")))
    return Index(key, found, frozenset(names))


def _state_key(folder: str) -> str:
    python = platform.python_implementation(), platform.python_version()
    facts = [INDEX_VERSION, *python, folder, _state(folder)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _state(folder: str) -> tuple[int, int, int]:
    state = Path(folder).stat()
    return state.st_ino, state.st_mtime_ns, state.st_ctime_ns


def _read_folder(folder: str) -> dict[str, Installed]:
    PathFinder.invalidate_caches()  # its listings of folders are as coarse as their timestamps
    installed: dict[str, Installed] = {}
    for distribution in distributions(path=[folder]):
        given = distribution.metadata["Name"]
        if given:  # or it is what was left of one that is gone
            installed.setdefault(canonicalize_name(given), _describe(distribution))
    return installed


def _describe(distribution: Distribution) -> Installed:
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
    elif distribution.read_text("PKG-INFO") and Path(location).name not in SITE_FOLDERS:
        editable = location  # "setup.py develop"
    modules = _provided(distribution, record)
    hooked = editable != "" and not modules and _has_hook(distribution, record)
    return Installed(version, location, editable, modules, hooked)


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
