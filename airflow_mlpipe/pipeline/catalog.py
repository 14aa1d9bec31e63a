"""Compute targets, environments and datastores by name, from their YAML files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.datastore import DatastoreEntry, parse_datastores
from airflow_mlpipe.model.environment import Environment, parse_environments
from airflow_mlpipe.pipeline.settings import path_option

NamedT = TypeVar("NamedT")

_LOCAL = LocalTarget()
_WORKERS_OWN = Environment()

# A DAG of 200 steps must not read a file 200 times; an edited file must be seen.
_read_files: dict[tuple[str, str], tuple[tuple[int, int], Mapping[str, object]]] = {}


def compute_target(given: ComputeTarget | str | None) -> ComputeTarget:
    """The target that a step names; None is ``local``. DefinitionError when there is none of that name."""
    if isinstance(given, ComputeTarget):
        return given
    if given is None or given == "local":
        return compute_targets()["local"]
    return _by_name(given, "compute_targets", "compute target", parse_targets)


def compute_targets() -> Mapping[str, ComputeTarget]:
    """The targets of the file, by name, and ``local``. DefinitionError when it cannot be read."""
    path = path_option("compute_targets")
    return {"local": _LOCAL} if path is None else _read(path, "compute_targets", parse_targets)


def environment(given: Environment | str | None) -> Environment:
    """The environment that a step names; None is the worker's own Python."""
    if isinstance(given, Environment):
        return given
    if given is None:
        return _WORKERS_OWN
    return _by_name(given, "environments", "environment", parse_environments)


def environments() -> Mapping[str, Environment]:
    """The environments of the file, by name; none without one. DefinitionError when it cannot be read."""
    path = path_option("environments")
    return {} if path is None else _read(path, "environments", parse_environments)


def datastore_entries() -> Mapping[str, DatastoreEntry]:
    """The datastores of the file, by name; none without one. DefinitionError when it cannot be read."""
    path = path_option("datastores")
    return {} if path is None else _read(path, "datastores", parse_datastores)


def _by_name(
    name: object, option: str, noun: str, parse: Callable[[str, str], Mapping[str, NamedT]]
) -> NamedT:
    if not isinstance(name, str):
        raise DefinitionError(f"a {noun} is an object of this package or a name, not {name!r}")
    path = path_option(option)
    if path is None:
        raise DefinitionError(
            f"{noun} {name!r} is not known: [mlpipe] {option} names no file; set it to a YAML file "
            f"that has a section {name!r}"
        )
    named = _read(path, option, parse)
    if name not in named:
        known = ", ".join(sorted(named)) or "none"
        raise DefinitionError(f"{noun} {name!r} is not in {path}; known there: {known}")
    return named[name]


def _read(path: Path, option: str, parse: Callable[[str, str], Mapping[str, NamedT]]) -> Mapping[str, NamedT]:
    try:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size)
        kept = _read_files.get((option, str(path)))
        if kept is None or kept[0] != state:
            kept = (state, parse(path.read_text(encoding="utf-8"), str(path)))
            _read_files[option, str(path)] = kept
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"[mlpipe] {option} is {path}, which cannot be read: {error}") from error
    return kept[1]  # type: ignore[return-value]  # one option is always parsed by the same function
