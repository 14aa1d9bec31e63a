"""What a step's author asks of reuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import field_validator

from airflow_mlpipe.model.declaration import Declaration


class ReuseOptions(Declaration):
    """The reuse keywords of a step.

    - ``allow_reuse``: None leaves it to whether the step declares an output;
    - ``hash_paths``: files and folders of the source directory that count besides what is found;
    - ``regenerate_outputs``: compute anew in every run, and store (SDK v1's word for refresh);
    - ``reuse_version``: a salt; another text, another fingerprint;
    - ``max_age``: outputs older than this are not reused;
    - ``reuse_scope``: ``global``, or ``dag`` to reuse only what this DAG made;
    - ``code_scope``: ``imports`` counts the Python files that the script reaches, ``directory`` all files.
    """

    allow_reuse: bool | None = None
    hash_paths: tuple[str, ...] = ()
    regenerate_outputs: bool = False
    reuse_version: str | None = None
    max_age: timedelta | None = None
    reuse_scope: Literal["global", "dag"] = "global"
    code_scope: Literal["imports", "directory"] = "imports"

    @field_validator("max_age")
    @classmethod
    def _age_is_positive(cls, age: timedelta | None) -> timedelta | None:
        if age is not None and age <= timedelta(0):
            raise ValueError("max_age must be longer than nothing")
        return age
