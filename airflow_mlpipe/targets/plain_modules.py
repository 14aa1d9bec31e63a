"""Modules on a search path that belong to no distribution: they count by their files."""

from __future__ import annotations

import ast
import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

_CODE = frozenset({".py", ".pyc", ".so", ".pyd"})
_MOST_FILES = 2_000
_MOST_BYTES = 64 * 2**20
# What makes the imports of a file unknowable; crude, and on the safe side.
_DYNAMIC_MODULES = frozenset(
    {"importlib", "imp", "pkgutil", "runpy", "subprocess", "pickle", "joblib", "dill"}
)
_DYNAMIC_NAMES = frozenset({"__import__", "exec", "eval", "compile"})


class UntellableError(Exception):
    """Why the contents or imports of a plain module cannot be told; completes a sentence."""


def modules_in(folder: str) -> Iterator[tuple[str, Path]]:
    """The names in *folder* that may be imported, and where they lie."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            importable = Path(entry.name).suffix in _CODE if entry.is_file() else not suffix
            if importable and name.isidentifier() and name != "__pycache__":
                yield name, Path(entry.path)


def is_namespace(place: Path) -> bool:
    """Whether *place* is a folder without ``__init__``, which any other module of its name comes before."""
    return place.is_dir() and not any(file.name.startswith("__init__.") for file in place.iterdir())


def holds_code(place: Path) -> bool:
    """Whether there is anything to import at *place*."""
    return any(path.suffix in _CODE for _, path in _files(place))


def tree_digest(places: Sequence[Path]) -> str:
    """The digest of all files of a module that lies at *places*; UntellableError when it is very large."""
    digest = hashlib.sha256(b"tree:1:")
    for relative, data in _contents(places):
        name = relative.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%s%s" % (len(name), name, hashlib.sha256(data).digest()))
    return digest.hexdigest()


def imported_by(places: Sequence[Path]) -> set[str]:
    """The top-level modules that the files of a module import; UntellableError when nobody can see."""
    imported: set[str] = set()
    for relative, data in _contents(places):
        if relative.endswith(".py"):
            imported |= _imports(relative, data)
        elif Path(relative).suffix in _CODE:
            raise UntellableError(f"the imports of the compiled {relative} cannot be seen")
    return imported


def _contents(places: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    count = size = 0
    for relative, path in (item for place in places for item in _files(place)):
        count, size = count + 1, size + path.stat().st_size
        if count > _MOST_FILES or size > _MOST_BYTES:
            raise UntellableError(f"it has more than {_MOST_FILES} files or {_MOST_BYTES // 2**20} MiB")
        yield relative, path.read_bytes()


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield place.name, place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            # Beside its source, bytecode is never run.
            is_leftover = path.suffix == ".pyc" and path.with_suffix(".py").name in names
            if not is_leftover and path.is_file():
                yield path.relative_to(place.parent).as_posix(), path


def _imports(relative: str, data: bytes) -> set[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data, relative)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UntellableError(f"{relative} cannot be parsed") from error
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Name) and node.id in _DYNAMIC_NAMES:
            raise UntellableError(f"{relative} uses {node.id}, so that its imports cannot be seen")
    if dynamic := sorted(imported & _DYNAMIC_MODULES):
        raise UntellableError(f"{relative} imports {dynamic[0]}, so that its imports cannot be seen")
    return imported
