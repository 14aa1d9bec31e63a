"""``airflow mlpipe environment``: lists the named environments, shows what they are, and builds them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_document, print_rows
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.environment import Environment, check_environment
from airflow_mlpipe.pipeline import catalog
from airflow_mlpipe.pipeline.compute.images import image_builder
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import environments_of, hash_cache
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.targets.environments import Environments, StepEnvironment, UnresolvedPackages
from airflow_mlpipe.targets.python_path import PythonPath

_NO_CODE = Code(files={}, scope="imports", external=())


@command
def list_all(args: Namespace) -> None:
    """List the environments that steps may name."""
    print_rows([_row(environment) for environment in catalog.environments().values()], args.output)


@command
def show(args: Namespace) -> None:
    """Show what counts of an environment on a target, and what it becomes there."""
    environment, target, settings = _chosen(args)
    document = _document(environment, target)
    with _offered(target, settings, resolves_packages=False) as offered:
        try:
            planned = offered.plan(environment, _NO_CODE, PythonPath())
        except UnresolvedPackages as error:
            document |= {"counts": None, "image": None, "undetermined": [str(error)]}
        else:
            document |= _planned(planned)
    print_document(document, args.output, yaml.safe_dump(document, sort_keys=False).rstrip())


@command
def build(args: Namespace) -> None:
    """Build an environment for a target unless it is built already."""
    environment, target, settings = _chosen(args)
    with _offered(target, settings) as offered:
        planned = offered.plan(environment, _NO_CODE, PythonPath())
        if planned.image is None:
            what, where = "interpreter", str(offered.interpreter(planned))
        else:
            what, where = "image", offered.image(planned)
    document = {**_document(environment, target), what: where}
    print_document(document, args.output, where)


def _chosen(args: Namespace) -> tuple[Environment, ComputeTarget, Settings]:
    """What the command is about. Raises DefinitionError for unknown names, and for what does not fit."""
    settings = Settings.read()
    environment = catalog.environment(args.name)
    target: ComputeTarget
    if args.target is not None:
        target = catalog.compute_target(args.target)
    elif environment.image or environment.dockerfile or environment.conda_packages:
        target = image_builder(settings)
    else:
        target = catalog.compute_target(None)
    check_environment(environment, target, "the command")
    return environment, target, settings


@contextmanager
def _offered(
    target: ComputeTarget, settings: Settings, *, resolves_packages: bool = True
) -> Iterator[Environments]:
    with hash_cache(settings) as cache:
        stores = Stores.open(settings)
        yield environments_of(target, settings, stores, cache, resolves_packages=resolves_packages)


def _row(environment: Environment) -> dict[str, Any]:
    return {
        "name": environment.name,
        "image": "(Dockerfile)" if environment.dockerfile else environment.image,
        "pip_packages": ", ".join(environment.pip_packages),
        "conda_packages": ", ".join(environment.conda_packages),
        "python_version": environment.python_version,
    }


def _document(environment: Environment, target: ComputeTarget) -> dict[str, Any]:
    fields = environment.model_dump(mode="json", exclude_defaults=True)
    # Their values may be secret; the steps hand them over.
    fields["environment_variables"] = sorted(environment.environment_variables)
    return {"schema_version": 1, "name": fields.pop("name"), "target": target.name, "fields": fields}


def _planned(planned: StepEnvironment) -> dict[str, Any]:
    document: dict[str, Any] = {
        "counts": planned.document,
        "image": planned.image,
        "undetermined": list(planned.undetermined),
    }
    if (definition := planned.build) is not None:
        document["definition"] = definition.digest
        document["dockerfiles"] = definition.dockerfiles
    return document
