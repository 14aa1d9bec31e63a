"""Environments: what a step's process finds installed."""

from __future__ import annotations

import re
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration


class Environment(Declaration):
    """Packages and variables for a step's process.

    With *pip_packages* (or a *python_version*) the step runs in a virtual environment that is built once and
    cached; otherwise in the worker's own Python. The first resolution of a list of packages is kept in
    the datastore, so that every worker installs the same versions. ``environment_variables`` count in the
    fingerprint.
    """

    name: str | None = None
    pip_packages: tuple[str, ...] = ()
    python_version: str | None = None
    environment_variables: dict[str, str] = Field(default_factory=dict)

    def __init__(self, name: str | None = None, **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("pip_packages")
    @classmethod
    def _packages_are_requirements(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        for package in packages:
            try:
                Requirement(package)
            except InvalidRequirement as error:
                raise ValueError(
                    f"{package!r} is not a requirement such as 'scikit-learn==1.7.2': {error}"
                ) from None
        return packages

    @field_validator("python_version")
    @classmethod
    def _version_is_major_minor(cls, version: str | None) -> str | None:
        if version is not None and not re.fullmatch(r"3\.\d{1,2}", version):
            raise ValueError("python_version is a minor version such as '3.11'")
        return version

    @property
    def is_isolated(self) -> bool:
        """Whether the step needs a Python of its own instead of the worker's."""
        return bool(self.pip_packages or self.python_version)


def parse_environments(text: str, origin: str) -> dict[str, Environment]:
    """The named environments of a YAML document ``{name: {pip_packages: [...], ...}}``.

    Raises DefinitionError that names *origin*, the environment and the mistake.
    """
    environments = {}
    for name, fields in named_sections(text, origin, "environment"):
        try:
            environments[name] = Environment(name=name, **fields)
        except DefinitionError as error:
            raise DefinitionError(f"{origin}: environment {name!r}: {error}") from None
    return environments


def named_sections(text: str, origin: str, noun: str) -> list[tuple[str, dict[str, Any]]]:
    """The sections of a YAML document that maps names to fields, in order; DefinitionError otherwise."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DefinitionError(f"{origin} is not YAML: {error}") from error
    if document is None:
        return []
    if not isinstance(document, dict):
        raise DefinitionError(f"{origin} must map names to {noun}s; it holds {type(document).__name__}")
    sections = []
    for name, fields in document.items():
        if not isinstance(name, str) or not isinstance(fields or {}, dict):
            raise DefinitionError(f"{origin}: {noun} {name!r} must be a name with fields; it is {fields!r}")
        if odd := [field for field in fields or {} if not isinstance(field, str)]:
            raise DefinitionError(f"{origin}: {noun} {name!r} has the field {odd[0]!r}; a field is a text")
        if "name" in (fields or {}):
            raise DefinitionError(f"{origin}: {noun} {name!r} repeats its name as a field; remove 'name'")
        sections.append((name, dict(fields or {})))
    return sections
