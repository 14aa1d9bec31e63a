"""Logins at registries of images: from Airflow's connections, else from Docker's own configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.image_name import DOCKER_HUB
from airflow_mlpipe.pipeline.connections.fields import connection_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.targets.images.registry import RegistryLogin

_HUB_HOSTS = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"}


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
