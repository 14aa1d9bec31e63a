"""The files of a step's code, each read at most once and only when it must be."""

from __future__ import annotations

import copy
import hashlib
import platform
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from airflow_mlpipe.reuse.code_tree import CodeTree, is_compiled, is_python
from airflow_mlpipe.reuse.syntax import ANALYSER_VERSION, SourceSyntax, analyse


class Memory(Protocol):
    """Remembers derived facts between calls; forgetting one costs time and nothing else."""

    def lookup(self, kind: str, key: str) -> str | None:
        """What was remembered last under *kind* and *key*, or None."""

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep *value* under *kind* and *key*."""


class SourceFiles:
    """The files of a source directory and of the bundle beside it, as they are at one moment.

    Steps that are looked at together share one of these. *file_digest* gives the SHA-256 of a file's
    bytes in hex. *bundle* is the root of the DAG bundle, when modules may come along from there.
    DefinitionError as :class:`~airflow_mlpipe.reuse.code_tree.CodeTree` raises it.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        read: Callable[[Path], bytes],
        file_digest: Callable[[Path], str],
        bundle: Path | None = None,
        remember: Memory | None = None,
    ) -> None:
        self.tree = CodeTree(directory, bundle)
        self.python = frozenset(filter(is_python, self.tree.files))
        self._read = read
        self._file_digest = file_digest
        self._memory = remember
        self._digests: dict[str, str] = {}
        self._executable: dict[str, bool] = {}
        self._analyses: dict[str, SourceSyntax | None] = {}

    def with_generated(self, generated: Mapping[str, bytes]) -> SourceFiles:
        """These files and those in *generated*; what is known of the others is shared."""
        sources = copy.copy(self)
        sources.tree = self.tree.with_generated(generated)
        sources.python = self.python | frozenset(filter(is_python, generated))
        return sources

    def digest(self, name: str) -> str:
        """The SHA-256 of the file's bytes in hex."""
        if name in self.tree.generated:
            return hashlib.sha256(self.tree.generated[name]).hexdigest()
        if name not in self._digests:
            self._digests[name] = self._file_digest(self.tree.path(name))
        return self._digests[name]

    def is_executable(self, name: str) -> bool:
        """Whether its owner may execute the file."""
        if name in self.tree.generated:
            return False
        if name not in self._executable:
            self._executable[name] = bool(self.tree.path(name).stat().st_mode & stat.S_IXUSR)
        return self._executable[name]

    def analysis(self, name: str) -> SourceSyntax | None:
        """What the Python file says, or None when it does not parse."""
        if name in self.tree.generated:
            return self._recalled(name)
        if name not in self._analyses:
            self._analyses[name] = self._recalled(name)
        return self._analyses[name]

    def data_beside(self, module: str) -> Iterator[str]:
        """The data of the package whose ``__init__.py`` is *module*; none for any other module.

        That is every file that is not Python, in the package's folder and in those below it that hold
        no Python at all.
        """
        package, _, name = module.rpartition("/")
        if name != "__init__.py":
            return
        files = self.tree.package(package + "/")
        modules = {name for name in files if is_python(name) or is_compiled(name)}
        with_code = {parent for name in modules for parent in PurePosixPath(name).parents}
        for name in files:
            folders = set(PurePosixPath(name).parents) - set(PurePosixPath(module).parents)
            if name not in modules and with_code.isdisjoint(folders):
                yield name

    def _recalled(self, name: str) -> SourceSyntax | None:
        if self._memory is None:
            return analyse(self._content(name), name)
        text = self._memory.lookup("syntax", _memory_key(self.digest(name)))
        if text is not None:
            try:
                return None if text == "null" else SourceSyntax.from_json(text)
            except (ValueError, TypeError, KeyError, AttributeError):
                pass  # a damaged memory is a forgotten one
        syntax = analyse(self._content(name), name)
        self._memory.remember(
            "syntax", _memory_key(self.digest(name)), "null" if syntax is None else syntax.to_json()
        )
        return syntax

    def _content(self, name: str) -> bytes:
        if name in self.tree.generated:
            return self.tree.generated[name]
        data = self._read(self.tree.path(name))
        # What is parsed is what counts, should the file have changed since its digest was taken.
        self._digests[name] = hashlib.sha256(data).hexdigest()
        return data


def _memory_key(digest: str) -> str:
    return f"{ANALYSER_VERSION}:{platform.python_version()}:{digest}"
