"""Whether ``import azureml`` leads to this package's stand-in, and what that does to a step's recipe."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.targets.environments import StepEnvironment
from airflow_mlpipe.targets.python_path import PythonPath

MODULE = "azureml"

# Raise it when what a script observes of the stand-in changes, such as the meaning of Dataset.get_by_name().
CONTRACT = 1


def stands_in(wanted: bool | None, code: Code, installed: Collection[str], path: PythonPath) -> bool:
    """Whether a step has the stand-in: as its author *wanted*, else if its *code* imports what is not there.

    *installed* are the top-level modules of its interpreter, or the names of its distributions.
    """
    if wanted is not None:
        return wanted
    is_there = any(name == MODULE or name.startswith(f"{MODULE}_") for name in installed)
    return MODULE in code.external and not is_there and not _comes_first(path)


def without_azureml(code: Code, path: PythonPath) -> Code:
    """*code* of a step that has the stand-in: no other ``azureml`` counts, for none is found."""
    if _comes_first(path):
        return code
    external, elsewhere = (
        tuple(name for name in names if name != MODULE) for names in (code.external, code.elsewhere)
    )
    return replace(code, external=external, elsewhere=elsewhere)


def with_stand_in(environment: StepEnvironment) -> StepEnvironment:
    """*environment* in which the stand-in counts."""
    return replace(environment, document={**environment.document, "azureml_compat": CONTRACT})


def _comes_first(path: PythonPath) -> bool:
    """Whether a folder that the author put on PYTHONPATH, before the stand-in's, has an ``azureml``."""
    return any(Path(folder, MODULE).is_dir() for folder in path.outside)
