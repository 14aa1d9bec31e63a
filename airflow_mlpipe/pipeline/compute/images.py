"""Images of steps as Airflow knows them: its settings, its connections with logins, and the engine to ask."""

from __future__ import annotations

import logging
import os
from functools import partial

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.pipeline.compute.docker import docker_client, remedy_of
from airflow_mlpipe.pipeline.compute.registry_logins import RegistryLogins
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.targets.images.building import EnvironmentImages
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.images.environments import ImageEnvironments
from airflow_mlpipe.targets.images.identity import ImageIdentities
from airflow_mlpipe.targets.images.locks import ImageLocks
from airflow_mlpipe.targets.images.registry import Registries

log = logging.getLogger(__name__)

_BUILDER_REMEDY = "start it, or name another one in [mlpipe] image_builder"
_TLS_VARIABLES = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def image_environments(
    target: ContainerTarget, settings: Settings, stores: Stores, *, resolves_packages: bool = True
) -> ImageEnvironments:
    """The environments of steps that run in containers of *target*. Nothing is asked before it must be."""
    host = _engine_of(target, settings)
    own_engine = isinstance(target, DockerTarget)
    logins = RegistryLogins.of(host, settings)
    remedy = remedy_of(host) if own_engine else _BUILDER_REMEDY
    connect = partial(docker_client, host, remedy=remedy)
    engine = ImageEngine(connect, logins, log.info, _plain_address(host), remedy)
    registries = Registries(logins)
    identities = ImageIdentities(engine, registries, log.info, prefers_registry=not own_engine)
    locks = ImageLocks(engine, stores.own, stores.others, log.info, resolves=resolves_packages)
    images = EnvironmentImages(
        engine,
        registries,
        Leases(stores.own, duration=settings.lease_seconds),
        log.info,
        repository=settings.image_registry,
        starts_elsewhere=not own_engine,
    )
    return ImageEnvironments(target, identities, locks, images)


def _engine_of(target: ContainerTarget, settings: Settings) -> DockerTarget:
    """The engine that has, or builds, the images of *target*. Raises DefinitionError."""
    return target if isinstance(target, DockerTarget) else image_builder(settings)


def image_builder(settings: Settings) -> DockerTarget:
    """The engine that builds images of targets that have none of their own. Raises DefinitionError."""
    try:
        return DockerTarget("image builder", docker_url=settings.image_builder or None)
    except DefinitionError as error:
        raise DefinitionError(f"[mlpipe] image_builder: {error}") from None


def _plain_address(host: DockerTarget) -> str | None:
    """Where the engine is asked without a client library; None where that takes keys or a tunnel."""
    url = host.docker_url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    has_keys = host.tls_directory or any(os.environ.get(name) for name in _TLS_VARIABLES)
    if url.startswith("unix://"):
        return url
    if url.startswith(("tcp://", "http://")) and not has_keys:
        return url.replace("tcp://", "http://", 1)
    return None
