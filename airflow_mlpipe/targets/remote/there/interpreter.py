"""Tells what the interpreter that runs this offers to a step on its machine: version, packages, modules.

It is started isolated, and asks another process of the same interpreter, which is started as a step is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # where this is run, they are in the same namespace
    from airflow_mlpipe.targets.remote.there.serving import Refused, Verb

ANSWER_SECONDS = 60


def describe(
    stream: BinaryIO, question: str, python_path: Sequence[str], imported: Sequence[str], program: str | None
) -> dict[str, Any]:
    """What a step finds with *python_path* as its PYTHONPATH.

    *question* is a Python program that prints ``{"version": ..., "paths": [...]}``. The answer has the
    ``version``; ``distributions``, which maps names to versions; ``modules``, all top-level ones by name;
    ``untold``, which maps those of *imported* that belong to no distribution, and distributions that are
    installed from a folder of sources, to where they are; ``program``, the SHA-256 of that program's file,
    None when there is none on the PATH.
    """
    told = _asked(question, python_path)
    paths = [path for path in told["paths"] if Path(path).is_dir()]
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=paths):
        if distribution.metadata["Name"]:  # or it is what was left of one that is gone
            found.setdefault(_normalised(distribution.metadata["Name"]), distribution)
    sources = {name: source for name, one in found.items() if (source := _source_folder(one)) is not None}
    owned = {module for distribution in found.values() for module in _provided(distribution)}
    return {
        "version": told["version"],
        "distributions": {name: _version(one) for name, one in sorted(found.items())},
        "modules": sorted(owned.union(*map(_modules_in, paths))),
        "untold": {**_plain(imported, owned, paths), **sources},
        "program": None if program is None else _program_digest(program),
    }


VERBS: dict[str, Verb] = {"describe": describe}


def _asked(question: str, python_path: Sequence[str]) -> dict[str, Any]:
    variables = {"PYTHONPATH": os.pathsep.join(python_path)} if python_path else {}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question],
            cwd="/",
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            timeout=ANSWER_SECONDS,
        ).stdout
        document: dict[str, Any] = json.loads(answer)
    except (subprocess.SubprocessError, ValueError) as error:
        raise Refused(f"the interpreter {sys.executable} does not answer: {error}") from error
    return document


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _direct(distribution: Distribution) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(distribution.read_text("direct_url.json") or "{}")
    return document


def _source_folder(distribution: Distribution) -> str | None:
    """Where an editable distribution has its sources."""
    direct = _direct(distribution)
    return str(direct["url"]) if direct.get("dir_info", {}).get("editable") else None


def _version(distribution: Distribution) -> str:
    """The version; followed by a digest of the installed files when it did not come from an index."""
    if not _direct(distribution):
        return distribution.version
    lines = sorted(line for line in _record(distribution).splitlines() if _is_code(line))
    return f"{distribution.version} sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def _record(distribution: Distribution) -> str:
    return distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""


def _is_code(line: str) -> bool:
    """Whether a line of RECORD is about a file of the package, and the same on every machine."""
    path = line.partition(",")[0]
    first = path.partition("/")[0]
    return first != ".." and not first.endswith(".dist-info") and not path.endswith(".pyc")


def _provided(distribution: Distribution) -> set[str]:
    """Its top-level modules."""
    files = (line.partition(",")[0] for line in _record(distribution).splitlines())
    names = {_stem(path.partition("/")[0]) for path in files}
    names.update((distribution.read_text("top_level.txt") or "").split())
    return {name for name in names if name.isidentifier()}


def _modules_in(folder: str) -> set[str]:
    return {name for entry in os.listdir(folder) if (name := _stem(entry)).isidentifier()}  # noqa: PTH208


def _stem(entry: str) -> str:
    """The module of an entry of a folder; no identifier when it is none."""
    stem, _, suffix = entry.partition(".")
    return stem if suffix == "" or suffix.endswith(("py", "so")) else ""


def _plain(imported: Sequence[str], owned: set[str], paths: Sequence[str]) -> dict[str, str]:
    """Imported modules that belong to no distribution, and where they are."""
    strangers = (name for name in imported if name not in owned and name not in sys.stdlib_module_names)
    specs = {name: PathFinder.find_spec(name, list(paths)) for name in strangers}
    return {
        name: spec.origin or ", ".join(spec.submodule_search_locations or ())
        for name, spec in specs.items()
        if spec is not None
    }


def _program_digest(program: str) -> str | None:
    path = shutil.which(program)
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
