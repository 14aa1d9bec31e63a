"""The code part of a recipe: which files count, and by what.

In the scope "imports" a Python file counts when the entry script can reach it by import, and it
counts by its syntax tree. Every other file of the snapshot counts by its bytes, and so does Python in
a folder that the code lists by name. As soon as something reachable makes the imports unknowable, every
Python file counts; as soon as something reachable reads source text or docstrings, those count. The
scope "directory" is the plain rule of Azure ML v1: every file counts by its bytes.

Modules that are imported from the root of the DAG bundle come along with the source directory: those
that are reached, with their packages' ``__init__.py`` and data, and nothing else of the bundle.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.code_tree import BUNDLE, FUNCTION, is_python
from airflow_mlpipe.reuse.ignore import list_files
from airflow_mlpipe.reuse.modules import Reach, reach
from airflow_mlpipe.reuse.source_files import SourceFiles
from airflow_mlpipe.reuse.syntax import ImportedName, SourceSyntax, relative_paths

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


# The modules that have Run.get_context().
_RUN_CONTEXTS = frozenset({"airflow_mlpipe", "azureml"})


@dataclass(frozen=True)
class Surroundings:
    """What a step's process finds besides its own code when it imports something.

    ``python_path`` are the folders of the source directory that PYTHONPATH names, as "" or "a/b/".
    ``installed`` are the top-level modules of the step's interpreter, as far as they are known;
    ``knows_all`` says that there are no others, but for the standard library's.
    """

    python_path: tuple[str, ...] = ()
    installed: frozenset[str] = frozenset()
    knows_all: bool = False


@dataclass(frozen=True)
class Code:
    """What code counts for one step.

    ``files`` maps the name of a file, as :mod:`~airflow_mlpipe.reuse.code_tree` has them, to
    "sha256:<hex>" (bytes; "sha256x:" for a file that is executable and not Python) or "python:<hex>"
    (syntax tree), sorted by name. ``scope`` is the scope that was used; ``why_directory`` says why it is
    not the one that was asked for. ``why_text`` and ``why_docstrings`` say why comments and docstrings
    count in the scope "imports" or its fallback; ``why_listed`` says why Python files of the folders that
    the code names count by their bytes, reached or not.

    ``external`` are the top-level modules that the code imports from other places, the standard
    library's among them; ``why_open`` says why it may import others besides, so that all that is
    installed may matter. ``elsewhere`` are those of the external ones that may come from folders that
    nobody knows, and ``why_elsewhere`` says why. ``why_undeclared`` says where the code asks for what other
    steps logged.
    """

    files: dict[str, str]
    scope: CodeScope
    external: tuple[str, ...]
    why_directory: str | None = None
    why_open: str | None = None
    why_text: str | None = None
    why_docstrings: str | None = None
    why_listed: str | None = None
    elsewhere: tuple[str, ...] = ()
    why_elsewhere: str | None = None
    why_undeclared: str | None = None

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Sentences on what the step reads besides its inputs, so that nothing may be reused."""
        if self.why_undeclared is None:
            return ()
        return (f"{self.why_undeclared}, and what other steps logged is no declared input",)

    @property
    def along(self) -> tuple[str, ...]:
        """The names of the files that come along from the bundle; the step's process needs them."""
        return tuple(name for name in self.files if name.startswith(BUNDLE))

    def as_document(self) -> dict[str, Any]:
        """The part of the recipe."""
        return {"scope": self.scope, "files": dict(self.files)}


def code_of(
    sources: SourceFiles,
    entry: str | None,
    *,
    scope: CodeScope,
    hash_paths: Sequence[str] = (),
    arguments: Sequence[str] = (),
    around: Surroundings | None = None,
) -> Code:
    """What of *sources* counts for the step whose script is *entry*, relative to the source directory.

    *entry* None is a command line: nobody knows what it runs, so every file counts by its bytes.
    *hash_paths* are files or folders, relative to the source directory, that count by their bytes
    besides, even when an ignore file names them. *arguments* are the texts that the script is given, which
    may name folders that it lists. Without *around* nothing is known of other modules.
    DefinitionError when the entry script or one of *hash_paths* is not there.
    """
    step = _StepFiles(sources, entry)
    extra = step.named(hash_paths)
    around = around or Surroundings()
    reached = _reach(step, around)
    why_elsewhere = _first(reached.analyses, lambda syntax: syntax.path)
    code = Code(
        files={},
        scope="directory" if scope == "directory" or reached.why_open is not None else "imports",
        external=reached.external,
        why_directory=None if scope == "directory" else reached.why_open,
        why_open=reached.why_open,
        elsewhere=() if why_elsewhere is None else _elsewhere(step, reached),
        why_elsewhere=why_elsewhere,
        why_undeclared=_why_undeclared(reached),
    )
    if scope == "imports" and step.start is not None:
        why_text = _first(reached.analyses, lambda syntax: syntax.text)
        listed = _listed(step, reached, arguments)
        code = replace(
            code,
            why_text=why_text,
            why_docstrings=_why_docstrings(reached, around),
            why_listed=_first(reached.analyses, lambda syntax: syntax.lister) if listed else None,
        )
        digests = _digests(step, reached, code) | {name: step.bytes_digest(name) for name in listed}
    else:
        digests = {name: step.bytes_digest(name) for name in {*sources.tree.files, *reached.along}}
    return replace(code, files=dict(sorted((digests | extra).items())))


def _digests(step: _StepFiles, reached: _Reached, code: Code) -> dict[str, str]:
    """The files that count, Python by its syntax as far as *code* lets it."""
    others = {*step.sources.tree.files, *reached.along} - step.python - reached.analyses.keys()
    digests = {name: step.bytes_digest(name) for name in others}
    for name, syntax in reached.analyses.items():
        if syntax is None or code.why_text is not None:
            digests[name] = step.bytes_digest(name)
        else:
            digests[name] = "python:" + (syntax.documented_digest if code.why_docstrings else syntax.digest)
    return digests


def _listed(step: _StepFiles, reached: _Reached, arguments: Sequence[str]) -> set[str]:
    """The Python files that the code may read as data.

    Those in a folder that a string of the code, or one of its *arguments*, names, if any of the code lists
    folders: the working directory of a step is its code, so relative paths lead there.
    """
    syntaxes = [syntax for syntax in reached.analyses.values() if syntax is not None]
    if all(syntax.lister is None for syntax in syntaxes):
        return set()
    paths = {*relative_paths(arguments), *(path for syntax in syntaxes for path in syntax.paths)}
    return {name for path in paths for name in step.sources.tree.below(path) if step.is_python(name)}


def _elsewhere(step: _StepFiles, reached: _Reached) -> tuple[str, ...]:
    """The external modules that no file or folder in the source directory has the name of."""
    known = {part.partition(".")[0] for name in step.sources.tree.files for part in name.split("/")}
    return tuple(module for module in reached.external if module not in known | sys.stdlib_module_names)


@dataclass(frozen=True)
class _Reached:
    """``analyses`` are of the Python files that may run; ``along`` is all that comes from the bundle."""

    analyses: dict[str, SourceSyntax | None]
    along: frozenset[str]
    external: tuple[str, ...]
    why_open: str | None


def _reach(step: _StepFiles, around: Surroundings) -> _Reached:
    """What is in reach of the script, or of all Python files when that cannot be told."""
    if step.start is None:
        why: str | None = "the step runs a command line, and what that imports is not known"
    else:
        found = _follow(step, [step.start], around, whole_packages=False)
        why = _why_open(step, found)
        if why is None:
            return _reached(step, found, frozenset(), None)
    found = _follow(step, sorted(step.python), around, whole_packages=True)
    return _reached(step, found, step.python, why)


def _follow(step: _StepFiles, starts: Sequence[str], around: Surroundings, *, whole_packages: bool) -> Reach:
    def imports_of(name: str) -> Sequence[ImportedName]:
        syntax = step.sources.analysis(name)
        return () if syntax is None else syntax.imports

    return reach(
        starts,
        (step.home, *around.python_path),
        step.sources.tree,
        imports_of,
        installed=around.installed,
        whole_packages=whole_packages,
    )


def _reached(step: _StepFiles, found: Reach, python: frozenset[str], why_open: str | None) -> _Reached:
    along = {name for name in found.files if name.startswith(BUNDLE)}
    along |= {data for name in sorted(along) for data in step.sources.data_beside(name)}
    python |= {name for name in found.files if step.is_python(name)}
    analyses = {name: step.sources.analysis(name) for name in sorted(python)}
    return _Reached(analyses, frozenset(along), _top_level(found.external), why_open)


def _why_open(step: _StepFiles, found: Reach) -> str | None:
    for name in sorted(found.files, key=lambda name: (name != step.start, name)):
        if not step.is_python(name):
            return f"{name} is a compiled module, whose imports cannot be seen"
        syntax = step.sources.analysis(name)
        if syntax is None:
            return f"{name} cannot be parsed by Python {platform.python_version()}"
        if syntax.dynamic is not None:
            return f"{name}: {syntax.dynamic}"
    return None


def _why_undeclared(reached: _Reached) -> str | None:
    """Where the code asks for other steps' runs; without a run context, the word means something else."""
    if _RUN_CONTEXTS.isdisjoint(reached.external):
        return None
    return _first(reached.analyses, lambda syntax: syntax.undeclared)


def _why_docstrings(reached: _Reached, around: Surroundings) -> str | None:
    if reached.why_open is not None:
        return reached.why_open
    for module in reached.external:
        may_be_there = not around.knows_all or module in around.installed
        if module not in _DEAF_TO_DOCSTRINGS and may_be_there:
            return f"{module} is imported, which may read docstrings"
    return _first(reached.analyses, lambda syntax: syntax.docstrings)


def _first(
    analyses: Mapping[str, SourceSyntax | None], reason: Callable[[SourceSyntax], str | None]
) -> str | None:
    for path, syntax in analyses.items():
        if syntax is not None and (sentence := reason(syntax)) is not None:
            return f"{path}: {sentence}"
    return None


def _top_level(dotted: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted({name.partition(".")[0] for name in dotted}))


class _StepFiles:
    """The files of the code as one step has them: its script is Python, whatever it is called."""

    def __init__(self, sources: SourceFiles, entry: str | None) -> None:
        self.sources = sources
        self.start = None if entry is None else self._listed(entry)
        self.python = sources.python | ({self.start} if self.start else set())

    @property
    def home(self) -> str:
        """The folder in which Python looks first: that of a script, the outermost one for a function."""
        if self.start is None or self.start.startswith(FUNCTION):
            return ""
        return self.start[: self.start.rfind("/") + 1]

    def is_python(self, name: str) -> bool:
        """Whether a file of the directory or the bundle is Python source to this step."""
        return name in self.python or is_python(name)

    def bytes_digest(self, name: str) -> str:
        """The file's digest as it is in a recipe when its bytes count."""
        executable = not self.is_python(name) and self.sources.is_executable(name)
        return ("sha256x:" if executable else "sha256:") + self.sources.digest(name)

    def named(self, hash_paths: Sequence[str]) -> dict[str, str]:
        """The digests of all files that *hash_paths* name, by their paths relative to the directory."""
        directory = self.sources.tree.directory
        digests = {}
        for name in hash_paths:
            if directory is None:
                raise DefinitionError(
                    f"hash_paths names {name!r}, but the step has no source_directory, in which that could "
                    "be; set it, or remove hash_paths"
                )
            relative = PurePosixPath(name)
            path = directory / relative
            if relative.is_absolute() or not (path.is_file() or path.is_dir()):
                raise DefinitionError(
                    f"hash_paths names {name!r}, which is not a file or folder in {str(directory)!r}; "
                    "give paths relative to the source directory"
                )
            inside = [relative] if path.is_file() else [relative / item for item in list_files(path)]
            digests.update({str(item): self.bytes_digest(str(item)) for item in inside})
        return digests

    def _listed(self, entry: str) -> str:
        tree = self.sources.tree
        path = str(PurePosixPath(entry))
        if path not in tree.files:
            there = tree.directory is not None and (tree.directory / entry).is_file()
            raise DefinitionError(
                f"the entry script {entry!r} is not in the snapshot of {str(tree.directory)!r}: "
                + ("an ignore file names it, or it lies outside; " if there else "there is no such file; ")
                + "name a script relative to the source directory"
            )
        return path
