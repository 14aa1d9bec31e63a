"""Environments: what a step's process finds installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget, ContainerTarget, LocalTarget, Name
from airflow_mlpipe.model.declaration import CONFIDENTIAL, Declaration
from airflow_mlpipe.model.dockerfile import check_dockerfile
from airflow_mlpipe.model.image_name import Image

_CONDA_VERSION = r"[0-9A-Za-z*][0-9A-Za-z_.*+!-]*"
_CONDA_BOUND = rf"[=<>!~]=? ?{_CONDA_VERSION}"
_CONDA_BOUNDS = rf"{_CONDA_BOUND}(?: ?[,|] ?(?:{_CONDA_BOUND}|{_CONDA_VERSION}))*"
# After a space a version begins with a digit: what begins with a letter is another package.
_CONDA_SPEC = re.compile(
    r"(?:[A-Za-z0-9_.-]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    rf"(?:(?: ?{_CONDA_BOUNDS}| (?=[0-9*]){_CONDA_VERSION}(?:[,|]{_CONDA_VERSION})*)"
    rf"(?:[ =]{_CONDA_VERSION})?)?"
)
_CONDA_CHANNEL = re.compile(r"(?:https?://)?[A-Za-z0-9_][A-Za-z0-9_.:/%-]*")
# A user's name alone, as in git+ssh://git@host, is no secret where keys are; elsewhere it may be a token.
_CREDENTIALS = re.compile(r"(?i)(?<!ssh)://[^/?#\s]*@|://[^/?#\s@]*:[^/?#\s]*@|://[^/?#\s]+/t/[^/]")


class Environment(Declaration):
    """What a step's process finds installed, and variables for it.

    On a worker's own machine *pip_packages* (or a *python_version*) make a virtual environment that is built
    once and cached; without them the step runs in the worker's own Python. In a container the step runs in
    *image*, or in what the text *dockerfile* describes; *pip_packages* and *conda_packages* (from
    *conda_channels*) are installed on top of it, into an image that is built once. The first resolution of a
    list of packages is kept in the datastore, so that everybody installs the same versions.
    ``environment_variables`` count in the fingerprint.
    """

    name: Name | None = None
    image: Image | None = None
    pip_packages: tuple[str, ...] = ()
    conda_packages: tuple[str, ...] = ()
    conda_channels: tuple[str, ...] = ()
    dockerfile: str | None = None
    python_version: str | None = None
    environment_variables: dict[str, str] = Field(default_factory=dict)

    def __init__(self, name: str | None = None, **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("pip_packages")
    @classmethod
    def _packages_are_requirements(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        named = []
        for package in packages:
            _refuse_credentials(package)
            try:
                requirement = Requirement(package)
            except InvalidRequirement as error:
                reason = str(error).partition("\n")[0]
                raise ValueError(
                    f"{package!r} is not a requirement such as 'scikit-learn==1.7.2': {reason}"
                ) from None
            # Markers may choose between several lines of one package, as in a file of requirements.
            named.append(f"{canonicalize_name(requirement.name)};{requirement.marker or ''}")
        _refuse_twice(packages, named, "bounds go into one text, such as 'scikit-learn>=1.5,<2'")
        return packages

    @field_validator("conda_packages")
    @classmethod
    def _packages_are_specs(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        named = []
        for package in packages:
            if (spec := _CONDA_SPEC.fullmatch(package)) is None:
                raise ValueError(
                    f"{package!r} is not a package of conda such as 'cudatoolkit=11.8', one in each text"
                )
            named.append(spec["name"].lower())
        _refuse_twice(packages, named, "bounds go into one text, such as 'numpy>=1.26,<3'")
        return packages

    @field_validator("conda_channels")
    @classmethod
    def _channels_are_names(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        for channel in channels:
            _refuse_credentials(channel)
            if not _CONDA_CHANNEL.fullmatch(channel):
                raise ValueError(f"{channel!r} is not a channel of conda such as 'conda-forge'")
        _refuse_twice(channels, channels, "write it once")
        return channels

    @field_validator("dockerfile")
    @classmethod
    def _dockerfile_stands_alone(cls, dockerfile: str | None) -> str | None:
        if dockerfile is not None:
            check_dockerfile(dockerfile)
        return dockerfile

    @field_validator("python_version")
    @classmethod
    def _version_is_major_minor(cls, version: str | None) -> str | None:
        if version is not None and not re.fullmatch(r"3\.[1-9]\d", version):
            raise ValueError("python_version is a minor version such as '3.11', from '3.10' on")
        return version

    @field_validator("environment_variables")
    @classmethod
    def _variables_have_names(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if not is_variable_name(name):
                raise ValueError(f"{name!r} is not a name for an environment variable")
            if "\0" in value:
                raise ValueError(
                    f"the value of {name} has a NUL character in it, and no variable can have one"
                )
        return variables

    @model_validator(mode="after")
    def _fields_fit(self) -> Environment:
        if self.image is not None and self.dockerfile is not None:
            raise ValueError("dockerfile names its image in its FROM line; leave image out")
        if self.conda_channels and not self.conda_packages:
            raise ValueError("conda_channels without conda_packages; name the packages, or leave it out")
        return self

    @property
    def is_isolated(self) -> bool:
        """Whether the step needs a Python of its own instead of the worker's."""
        return bool(self.pip_packages or self.python_version)

    @property
    def needs_building(self) -> bool:
        """Whether a container of the step needs an image that has to be built."""
        return bool(self.pip_packages or self.conda_packages or self.dockerfile)


def is_variable_name(name: str) -> bool:
    """Whether *name* may name an environment variable."""
    return name != "" and name == name.strip() and "=" not in name and "\0" not in name


def _refuse_twice(texts: Sequence[str], names: Sequence[str], advice: str) -> None:
    """Refuse two of *texts* that say something of the same of *names*, of which each text has one."""
    first: dict[str, str] = {}
    for text, name in zip(texts, names, strict=True):
        if name in first:
            raise ValueError(f"{first[name]!r} and {text!r} are of one name; {advice}")
        first[name] = text


def _refuse_credentials(text: str) -> None:
    """Refuse *text*, without repeating it, when a URL in it has credentials.

    What is installed is kept in manifests, in the history of images and in logs.
    """
    if _CREDENTIALS.search(text):
        raise PydanticCustomError(
            CONFIDENTIAL,
            "a URL has credentials in it, and everybody can read what is installed; leave them out. On a "
            "worker's own machine they belong into its ~/.netrc; for containers build the image yourself "
            "with the secrets of BuildKit, and name it as image",
        )


def check_environment(environment: Environment, target: ComputeTarget, who: str) -> None:
    """Raise DefinitionError, which names the step as *who*, when *target* cannot offer *environment*."""
    what = "environment" if environment.name is None else f"environment {environment.name!r}"
    if isinstance(target, ContainerTarget):
        if target.image is None and environment.image is None and environment.dockerfile is None:
            raise DefinitionError(
                f"{who}: its {what} names no image, nor does compute target {target.name!r}; set "
                "image='python:3.12-slim' or another one, in either"
            )
    elif environment.conda_packages:
        raise DefinitionError(
            f"{who}: its {what} has conda_packages, which compute target {target.name!r} does not install; "
            "use a target with containers, or pip_packages"
        )
    elif environment.is_isolated and not isinstance(target, LocalTarget):
        raise DefinitionError(
            f"{who}: its {what} has pip_packages or a python_version, which compute target {target.name!r} "
            "does not install: it has an interpreter of its own; name that one as python of the target"
        )


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
