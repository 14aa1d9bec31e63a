"""Where the files of a DAG lie."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DefinitionError

_ATTRIBUTE = "_mlpipe_source_directories"


def dag_folder(dag: Any) -> Path:
    """The folder of the DAG file, from which relative paths start."""
    return Path(dag.folder).resolve()


def bundle_root(dag: Any) -> Path:
    """The root of the DAG bundle that holds the DAG file.

    Airflow appends the bundle's root to ``sys.path`` before it parses a file of it, in the DAG
    processor and on a worker alike; without that, the DAGs folder or the DAG file's own folder.
    """
    from airflow.sdk.configuration import conf

    folder = dag_folder(dag)
    candidates = [conf.get("core", "dags_folder", fallback=""), *sys.path]
    for candidate in reversed(candidates):
        if candidate and Path(candidate).is_absolute():
            root = Path(candidate).resolve()
            if root == folder or root in folder.parents:
                return root
    return folder


def source_directory(dag: Any, given: str, who: str) -> Path:
    """The absolute path of a step's source directory, which lies inside the bundle and exists.

    Raises DefinitionError otherwise: what lies outside is neither versioned with the bundle nor there
    on every worker.
    """
    known = _known_directories(dag)
    if given not in known:
        known[given] = _checked_directory(dag, given, who)
    return known[given]


def _known_directories(dag: Any) -> dict[str, Path]:
    """What was found for this DAG: 200 steps with the same folder resolve its links once."""
    if not hasattr(dag, _ATTRIBUTE):
        setattr(dag, _ATTRIBUTE, {})
    known: dict[str, Path] = getattr(dag, _ATTRIBUTE)
    return known


def _checked_directory(dag: Any, given: str, who: str) -> Path:
    root = bundle_root(dag)
    path = (dag_folder(dag) / given).resolve()
    if path != root and root not in path.parents:
        raise DefinitionError(
            f"{who}: source_directory {given!r} is {path}, outside the DAG bundle {root}; move the code "
            "into the bundle, where every worker finds the same version of it"
        )
    if not path.is_dir():
        raise DefinitionError(f"{who}: source_directory {given!r} is not a folder: {path} does not exist")
    return path


def script(directory: Path, script_name: str, who: str) -> Path:
    """The absolute path of a step's script; DefinitionError when it is missing."""
    path = directory / script_name
    if not path.is_file():
        raise DefinitionError(f"{who}: script_name {script_name!r} is not a file in {directory}")
    return path
