"""The code part of a recipe: which files of a source directory count, and by what.

In the scope "imports" a Python file counts when the entry script can reach it by import, and it
counts by its syntax tree. Every other file of the snapshot counts by its bytes. As soon as something
reachable makes the imports unknowable, every Python file counts; as soon as something reachable reads
source text or docstrings, those count. The scope "directory" is the plain rule of Azure ML v1: every
file counts by its bytes.
"""

from __future__ import annotations

import hashlib
import platform
import stat
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.ignore import list_files
from airflow_mlpipe.reuse.modules import Reach, is_python, reach
from airflow_mlpipe.reuse.syntax import ANALYSER_VERSION, ImportedName, SourceSyntax, analyse

CodeScope = Literal["imports", "directory"]

# Libraries that do nothing with the docstrings of the code that uses them. Any other may (tool and
# prompt definitions, command lines, schemas), so that a step importing one counts its docstrings.
_DEAF_TO_DOCSTRINGS = sys.stdlib_module_names | {
    "PIL", "airflow_mlpipe", "azureml", "boto3", "botocore", "bs4", "catboost", "cv2", "fsspec", "h5py",
    "imblearn", "joblib", "lightgbm", "lxml", "matplotlib", "mlflow", "networkx", "nltk", "numpy",
    "onnx", "onnxruntime", "openpyxl", "optuna", "packaging", "pandas", "plotly", "polars", "psutil",
    "pyarrow", "requests", "s3fs", "safetensors", "scipy", "seaborn", "shap", "skimage", "sklearn",
    "sqlalchemy", "statsmodels", "sympy", "tensorboard", "threadpoolctl", "timm", "tokenizers", "torch",
    "torchaudio", "torchvision", "tqdm", "urllib3", "xgboost", "yaml",
}  # fmt: skip


class Memory(Protocol):
    """Remembers derived facts between calls; forgetting one costs time and nothing else."""

    def lookup(self, kind: str, key: str) -> str | None:
        """What was remembered last under *kind* and *key*, or None."""

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep *value* under *kind* and *key*."""


@dataclass(frozen=True)
class Code:
    """What of a source directory counts for one step.

    ``files`` maps a relative path to "sha256:<hex>" (bytes; "sha256x:" for a file that is executable
    and not Python) or "python:<hex>" (syntax tree), sorted by path. ``scope`` is the scope that was
    used; ``why_directory`` says why it is not the one that was asked for. ``external`` are the
    top-level modules that the code imports from elsewhere, the standard library's among them;
    ``why_open`` says why it may import others besides, so that all that is installed may matter.
    ``why_text`` and ``why_docstrings`` say why comments and docstrings count in the scope "imports"
    or its fallback.
    """

    files: dict[str, str]
    scope: CodeScope
    external: tuple[str, ...]
    why_directory: str | None = None
    why_open: str | None = None
    why_text: str | None = None
    why_docstrings: str | None = None

    def as_document(self) -> dict[str, Any]:
        """The part of the recipe."""
        return {"scope": self.scope, "files": dict(self.files)}


def code_of(
    directory: Path,
    entry: str | None,
    *,
    scope: CodeScope,
    read: Callable[[Path], bytes],
    file_digest: Callable[[Path], str],
    hash_paths: Sequence[str] = (),
    remember: Memory | None = None,
) -> Code:
    """What of *directory* counts for the step whose script is *entry*, relative to it.

    *entry* None is a command line: nobody knows what it runs, so every file counts by its bytes.
    *file_digest* gives the SHA-256 of a file's bytes in hex. *hash_paths* are files or folders,
    relative to *directory*, that count by their bytes besides, even when an ignore file names them.
    DefinitionError when the directory, the entry script or one of *hash_paths* is not there.
    """
    snapshot = _Snapshot(Path(directory), read, file_digest, remember)
    extra = snapshot.named(hash_paths)
    start = None if entry is None else snapshot.entry(entry)
    reached = _reach(snapshot, start)
    if scope == "directory" or start is None:
        why = None if scope == "directory" else reached.why_open
        digests = {path: snapshot.bytes_digest(path) for path in snapshot.files}
        return _code(digests | extra, "directory", reached, why_directory=why)
    used: CodeScope = "imports" if reached.why_open is None else "directory"
    analyses = {path: snapshot.analysis(path) for path in sorted(reached.python)}
    why_text = _first(analyses, lambda syntax: syntax.text)
    why_docstrings = _why_docstrings(analyses, reached)
    digests = {path: snapshot.bytes_digest(path) for path in snapshot.files if path not in snapshot.python}
    for path, syntax in analyses.items():
        if syntax is None or why_text is not None:
            digests[path] = snapshot.bytes_digest(path)
        else:
            digests[path] = "python:" + (syntax.documented_digest if why_docstrings else syntax.digest)
    return _code(
        digests | extra,
        used,
        reached,
        why_directory=reached.why_open,
        why_text=why_text,
        why_docstrings=why_docstrings,
    )


def _code(digests: Mapping[str, str], scope: CodeScope, reached: _Reached, **reasons: str | None) -> Code:
    return Code(
        files=dict(sorted(digests.items())),
        scope=scope,
        external=reached.external,
        why_open=reached.why_open,
        **reasons,
    )


@dataclass(frozen=True)
class _Reached:
    python: frozenset[str]
    external: tuple[str, ...]
    why_open: str | None


def _reach(snapshot: _Snapshot, start: str | None) -> _Reached:
    """The Python files that may run: those in reach of *start*, or all when that cannot be told."""

    def imports_of(path: str) -> Sequence[ImportedName]:
        syntax = snapshot.analysis(path)
        return () if syntax is None else syntax.imports

    home = "" if start is None else start[: start.rfind("/") + 1]
    if start is None:
        why: str | None = "the step runs a command line, and what that imports is not known"
    else:
        found = reach([start], home, snapshot.files, imports_of)
        why = _why_open(snapshot, start, found)
        if why is None:
            return _Reached(found.files & snapshot.python, _top_level(found.external), None)
    found = reach(sorted(snapshot.python), home, snapshot.files, imports_of)
    return _Reached(snapshot.python, _top_level(found.external), why)


def _why_open(snapshot: _Snapshot, start: str, found: Reach) -> str | None:
    for path in sorted(found.files, key=lambda path: (path != start, path)):
        if path not in snapshot.python:
            return f"{path} is a compiled module, whose imports cannot be seen"
        syntax = snapshot.analysis(path)
        if syntax is None:
            return f"{path} cannot be parsed by Python {platform.python_version()}"
        if syntax.dynamic is not None:
            return f"{path}: {syntax.dynamic}"
    return None


def _why_docstrings(analyses: Mapping[str, SourceSyntax | None], reached: _Reached) -> str | None:
    if reached.why_open is not None:
        return reached.why_open
    for module in reached.external:
        if module not in _DEAF_TO_DOCSTRINGS:
            return f"{module} is imported, which may read docstrings"
    return _first(analyses, lambda syntax: syntax.docstrings)


def _first(
    analyses: Mapping[str, SourceSyntax | None], reason: Callable[[SourceSyntax], str | None]
) -> str | None:
    for path, syntax in analyses.items():
        if syntax is not None and (sentence := reason(syntax)) is not None:
            return f"{path}: {sentence}"
    return None


def _top_level(dotted: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted({name.partition(".")[0] for name in dotted}))


class _Snapshot:
    """The files of one source directory, each read at most once and only when it must be."""

    def __init__(
        self,
        directory: Path,
        read: Callable[[Path], bytes],
        file_digest: Callable[[Path], str],
        memory: Memory | None,
    ) -> None:
        self._directory = directory
        self._read = read
        self._file_digest = file_digest
        self._memory = memory
        self._digests: dict[str, str] = {}
        self._analyses: dict[str, SourceSyntax | None] = {}
        self.files = tuple(map(str, list_files(directory)))
        self.python = frozenset(filter(is_python, self.files))

    def entry(self, name: str) -> str:
        """The path of the entry script in the listing; it is Python, whatever it is called."""
        path = str(PurePosixPath(name))
        if path not in self.files:
            there = (self._directory / name).is_file()
            raise DefinitionError(
                f"the entry script {name!r} is not in the snapshot of {str(self._directory)!r}: "
                + ("an ignore file names it, or it lies outside; " if there else "there is no such file; ")
                + "name a script relative to the source directory"
            )
        self.python |= {path}
        return path

    def named(self, hash_paths: Sequence[str]) -> dict[str, str]:
        """The digests of all files that *hash_paths* name, by their paths relative to the directory."""
        digests = {}
        for name in hash_paths:
            relative = PurePosixPath(name)
            path = self._directory / relative
            if relative.is_absolute() or not (path.is_file() or path.is_dir()):
                raise DefinitionError(
                    f"hash_paths names {name!r}, which is not a file or folder in "
                    f"{str(self._directory)!r}; give paths relative to the source directory"
                )
            inside = [relative] if path.is_file() else [relative / item for item in list_files(path)]
            digests.update({str(item): self.bytes_digest(str(item)) for item in inside})
        return digests

    def bytes_digest(self, path: str) -> str:
        source = path in self.python or is_python(path)
        executable = not source and (self._directory / path).stat().st_mode & stat.S_IXUSR
        return ("sha256x:" if executable else "sha256:") + self._digest(path)

    def analysis(self, path: str) -> SourceSyntax | None:
        """What the Python file says, or None when it does not parse."""
        if path not in self._analyses:
            self._analyses[path] = self._recalled(path)
        return self._analyses[path]

    def _recalled(self, path: str) -> SourceSyntax | None:
        if self._memory is None:
            return analyse(self._content(path), path)
        text = self._memory.lookup("syntax", _memory_key(self._digest(path)))
        if text is not None:
            try:
                return None if text == "null" else SourceSyntax.from_json(text)
            except (ValueError, TypeError, KeyError, AttributeError):
                pass  # a damaged memory is a forgotten one
        syntax = analyse(self._content(path), path)
        self._memory.remember(
            "syntax", _memory_key(self._digest(path)), "null" if syntax is None else syntax.to_json()
        )
        return syntax

    def _content(self, path: str) -> bytes:
        data = self._read(self._directory / path)
        # What is parsed is what counts, should the file have changed since its digest was taken.
        self._digests[path] = hashlib.sha256(data).hexdigest()
        return data

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = self._file_digest(self._directory / path)
        return self._digests[path]


def _memory_key(digest: str) -> str:
    return f"{ANALYSER_VERSION}:{platform.python_version()}:{digest}"
