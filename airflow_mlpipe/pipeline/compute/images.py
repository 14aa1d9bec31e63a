"""Images of steps as Airflow knows them: its settings, its connections with logins, and the engine to ask."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.image_name import DOCKER_HUB
from airflow_mlpipe.pipeline.compute.docker import docker_client, remedy_of
from airflow_mlpipe.pipeline.connections.fields import connection_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.targets.images.building import EnvironmentImages
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.images.environments import ImageEnvironments
from airflow_mlpipe.targets.images.identity import ImageIdentities
from airflow_mlpipe.targets.images.locks import ImageLocks
from airflow_mlpipe.targets.images.registry import Registries, RegistryLogin

log = logging.getLogger(__name__)

_BUILDER_REMEDY = "start it, or name another one in [mlpipe] image_builder"
_TLS_VARIABLES = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_HUB_HOSTS = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}


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


class RegistryLogins:
    """The logins in *connections*, Airflow connections of type docker; read when first asked for.

    They are ids, each with the setting that names it; of two for one registry the later one counts.
    """

    def __init__(self, connections: Mapping[str, str]) -> None:
        self._connections = connections
        self._known: dict[str, RegistryLogin] | None = None

    @classmethod
    def of(cls, target: DockerTarget, settings: Settings) -> RegistryLogins:
        """Those that the engine of *target* is given."""
        connections = dict.fromkeys(settings.image_connections, "[mlpipe] image_connections")
        if target.docker_conn_id is not None:
            connections[target.docker_conn_id] = f"docker_conn_id of compute target {target.name!r}"
        return cls(connections)

    def __call__(self, registry: str) -> RegistryLogin:
        """The login at *registry*, else the one that Docker's own configuration has, else an empty one.

        Raises DefinitionError for a connection that is not there, or is for something else.
        """
        if self._known is None:
            self._known = dict(_login_of(*named) for named in self._connections.items())
        return self._known.get(registry) or _dockers_own(registry)


def _login_of(conn_id: str, where: str) -> tuple[str, RegistryLogin]:
    """The registry that a connection is for, and its login; *where* is the setting that names it."""
    connection = connection_of(conn_id)
    if connection is None:
        raise DefinitionError(f"{where} names the connection {conn_id!r}, which is not there; add it")
    if connection.conn_type != "docker" or not connection.host:
        raise DefinitionError(
            f"{where} names the connection {conn_id!r}, of type {connection.conn_type!r} with the host "
            f"{connection.host!r}; it must be of type docker and name the host of a registry"
        )
    host = connection.host if "://" in connection.host else f"//{connection.host}"
    parts = urlsplit(host)
    registry = parts.netloc if parts.port or not connection.port else f"{parts.netloc}:{connection.port}"
    login = RegistryLogin(connection.login or "", connection.password or "", parts.scheme == "http")
    return (DOCKER_HUB if registry in _HUB_HOSTS else registry), login


def _dockers_own(registry: str) -> RegistryLogin:
    folder = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()
    if not (folder / "config.json").exists():
        return RegistryLogin()
    from docker import auth

    found = auth.load_config().resolve_authconfig(registry) or {}
    by_name = {
        name.lower(): value or "" for name, value in found.items()
    }  # a credential helper says "Username"
    return RegistryLogin(by_name.get("username", ""), by_name.get("password", ""))
