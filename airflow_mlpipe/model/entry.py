"""What a step starts: a Python script, a Python function, or any command."""

from __future__ import annotations

from pydantic import field_validator

from airflow_mlpipe.model.declaration import Declaration


class Script(Declaration):
    """A Python script inside the source directory, run by the environment's interpreter."""

    script_name: str

    @field_validator("script_name")
    @classmethod
    def _stays_inside(cls, script_name: str) -> str:
        parts = script_name.split("/")
        if not script_name or script_name.startswith("/") or ".." in parts or "\\" in script_name:
            raise ValueError("script_name is a path inside source_directory, such as 'train.py'")
        return script_name


class Command(Declaration):
    """A program and its fixed first arguments, run without a shell, such as ``("Rscript", "fit.R")``."""

    argv: tuple[str, ...]

    @field_validator("argv", mode="before")
    @classmethod
    def _is_a_list(cls, argv: object) -> object:
        if isinstance(argv, str) or not isinstance(argv, (list, tuple)) or not argv:
            raise ValueError("a command is a list such as ['Rscript', 'fit.R']; no shell splits a text")
        return tuple(argv)


class Function(Declaration):
    """A Python function in a module that was cut out for it, called in the step's own process.

    ``source`` is that module. ``returns`` says whether the function returns anything. With ``unrolls``, the
    keys or fields of that are results of their own; ``fields`` names them as far as they are declared.
    """

    name: str
    source: str
    returns: bool
    unrolls: bool = False
    fields: tuple[str, ...] = ()
