"""Names that tell what code may do: of modules, of their members, and words that tell wherever they stand.

:mod:`airflow_mlpipe.reuse.hazards` explains the kinds, and looks where code uses the names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

Kind = Literal["dynamic", "text", "docstrings", "path", "lister", "undeclared"]
Finding = tuple[Kind, int, str]

# Importing one of these is enough: they import, run or unpickle by name, or start other programs.
_MODULES: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "IPython", "allennlp", "apipkg", "bdb", "cProfile", "celery", "code", "codeop", "detectron2",
            "dynaconf", "fabric", "fairseq", "gin", "hydra", "imp", "importlib", "invoke", "jsonargparse",
            "jsonpickle", "kedro", "lazy_import", "lazy_loader", "luigi", "mmcv", "mmengine",
            "modulefinder", "nbclient", "nbconvert", "papermill", "pdb", "pexpect", "pkg_resources",
            "pkgutil", "plumbum", "profile", "pty", "pytest", "pyximport", "runpy", "sacred", "sh", "site",
            "stevedore", "subprocess", "timeit", "trace", "unittest", "uvicorn", "zipimport",
        ),
        "dynamic",
    ),
    **dict.fromkeys(
        ("cgitb", "coverage", "line_profiler", "linecache", "tokenize", "traceback", "tracemalloc", "triton"),
        "text",
    ),
    **dict.fromkeys(("doctest", "docopt", "ply"), "docstrings"),
    "pydoc": "dynamic",
}  # fmt: skip

# Members of modules that are harmless otherwise. A "*" stands for any characters of one name.
_MEMBERS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "asyncio.create_subprocess_*", "asyncio.subprocess", "bentoml.load*", "builtins.__import__",
            "builtins.compile", "builtins.eval", "builtins.exec", "builtins.globals", "cloudpickle.load*",
            "concurrent.interpreters", "ctypes.pythonapi", "deepspeed.launcher", "dill.Unpickler",
            "dill.load*", "joblib.load*", "keras.models", "keras.saving", "lightning.pytorch.cli",
            "logging.config", "marshal.load*", "mlflow.load*", "mlflow.projects",
            "multiprocessing.set_executable", "os.exec*", "os.popen", "os.posix_spawn*", "os.spawn*",
            "os.startfile", "os.system", "pandas.read_hdf", "pandas.read_pickle", "pickle.Unpickler",
            "pickle._Unpickler", "pickle.load*", "pydantic.ImportString", "pytorch_lightning.cli",
            "shelve.*", "skops.io", "sys.meta_path", "sys.modules", "sys.path", "sys.path_hooks",
            "sys.path_importer_cache", "tensorflow.saved_model", "torch.distributed.run", "torch.hub",
            "torch.load", "torch.package", "werkzeug.utils", "yaml.CLoader", "yaml.CUnsafeLoader",
            "yaml.Loader", "yaml.UnsafeLoader", "yaml.unsafe_load*",
        ),
        "dynamic",
    ),
    **dict.fromkeys(
        (
            "ast.get_source_segment", "cloudpickle.dump*", "dill.dump*", "dill.source",
            "faulthandler.dump_traceback*", "inspect.currentframe", "inspect.findsource",
            "inspect.getblock", "inspect.getcomments", "inspect.getfile", "inspect.getframeinfo",
            "inspect.getinnerframes", "inspect.getouterframes", "inspect.getsource*", "inspect.stack",
            "inspect.trace", "sys._current_frames", "sys._getframe", "torch.jit",
        ),
        "text",
    ),
    **dict.fromkeys(
        ("ast.get_docstring", "inspect.classify_class_attrs", "inspect.getdoc", "inspect.getmembers*"),
        "docstrings",
    ),
}  # fmt: skip

# Those of the above that change where Python looks for modules.
_PATH = frozenset({"site.addsitedir", "sys.meta_path", "sys.path", "sys.path_hooks"})

# Telling wherever they appear: as a name, as an attribute, or as a whole string (for getattr).
WORDS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "__builtins__", "__import__", "__loader__", "__path__", "__spec__", "create_subprocess_exec",
            "create_subprocess_shell", "exec_module", "import_module", "load_module", "load_model",
        ),
        "dynamic",
    ),
    **dict.fromkeys(
        (
            "__cached__", "__code__", "ag_code", "ag_frame", "co_firstlineno", "co_lines", "co_positions",
            "cr_code", "cr_frame", "f_code", "f_lineno", "gi_code", "gi_frame", "lineno", "tb_frame",
            "tb_lineno",
        ),
        "text",
    ),
    **dict.fromkeys(("__dict__", "__doc__", "getdoc"), "docstrings"),
    "get_children": "undeclared",
}  # fmt: skip

# As plain names only: attributes of these names (``model.eval()``, ``re.compile()``) are harmless.
BUILTINS: dict[str, Kind] = {
    **dict.fromkeys(("compile", "eval", "exec", "globals"), "dynamic"),
    **dict.fromkeys(("help", "locals", "vars"), "docstrings"),
}

# Keyword arguments that make a library unpickle, or import, run or pack source files.
KEYWORDS = frozenset({"allow_pickle", "code_path", "code_paths", "py_modules", "trust_remote_code"})

# What lists, copies or packs a folder; together with the folder of the code it may reach any file.
LISTERS = frozenset(
    {
        "cmpfiles", "compile_dir", "copy_tree", "copytree", "create_archive", "dircmp", "fwalk", "glob",
        "iglob", "iterdir", "listdir", "log_artifacts", "log_code", "make_archive", "move", "rglob",
        "scandir", "tarfile", "upload_folder", "walk", "writepy",
    }
)  # fmt: skip

_DUNDER = re.compile(r"__[a-z]+__")


def imported(names: tuple[str, ...], line: int) -> Iterator[Finding]:
    """What the import of a dotted name tells."""
    if names and names[0] in _MODULES:
        yield _MODULES[names[0]], line, f"imports {'.'.join(names)}"
        if names[0] == "pydoc":
            yield "docstrings", line, "imports pydoc"
    yield from used(names, line)


def used(names: tuple[str, ...], line: int) -> Iterator[Finding]:
    """Dangerous members anywhere in a dotted name, so that ``compat.os.system`` is one, too."""
    for start in range(len(names)):
        for end in range(start + 1, len(names)):
            if (dotted := ".".join(names[start : end + 1])) in _PATH:
                yield "path", line, f"uses {dotted}"
            for pattern, kind in _member_patterns.get(names[start:end], ()):
                if pattern.fullmatch(names[end]):
                    yield kind, line, f"uses {'.'.join(names[start : end + 1])}"


def word_in(text: str) -> str | None:
    """The telling word that *text* is, or that is inside it, as in "{0.__doc__}"."""
    return text if text in WORDS else next((word for word in _DUNDER.findall(text) if word in WORDS), None)


def _compile_members() -> dict[tuple[str, ...], list[tuple[re.Pattern[str], Kind]]]:
    patterns: defaultdict[tuple[str, ...], list[tuple[re.Pattern[str], Kind]]] = defaultdict(list)
    for name, kind in _MEMBERS.items():
        *module, member = name.split(".")
        patterns[tuple(module)].append((re.compile(member.replace("*", ".*")), kind))
    return dict(patterns)


_member_patterns = _compile_members()

# Modules with dangerous members, and of which kinds those are.
GUARDED = {module: sorted({kind for _, kind in members}) for module, members in _member_patterns.items()}
