"""Docker engines as Airflow knows them: by the hook of the docker provider, with its connections."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

if TYPE_CHECKING:
    from docker import APIClient

    from airflow_mlpipe.targets.docker.driver import DockerDriver

log = logging.getLogger(__name__)

DEFAULT_URL = "unix:///var/run/docker.sock"

# An engine that is cut off while a step prints nothing would be listened to for ever.
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, option), value)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, option)
    ),
]


def docker_driver(target: DockerTarget, settings: Settings, datastore: Datastore) -> DockerDriver:
    """What runs attempts on the engine of *target*; the records of carried ones are kept in *datastore*.

    Raises TargetError when its address cannot be used, InfrastructureError when the engine does not answer.
    The registry is only asked when an image has to be fetched.
    """
    from airflow_mlpipe.pipeline.compute.registry_logins import RegistryLogins
    from airflow_mlpipe.targets.docker.driver import DockerDriver
    from airflow_mlpipe.targets.images.engine import ImageEngine

    client = docker_client(target, logs_in=False)
    logins = RegistryLogins.of(target, settings)
    images = ImageEngine(lambda: client, logins, log.info, remedy=remedy_of(target))
    records = None if shares_disk(target) else AttemptRecords(datastore)
    runtime = runtime_bundle(settings.cache_directory)
    return DockerDriver(client, target, runtime, images, records, _variables(target))


def shares_disk(target: DockerTarget) -> bool:
    """Whether containers of *target* can be shown this worker's folders. Asks no engine."""
    if target.shares_disk is not None:
        return target.shares_disk
    return _url(target).startswith(("unix://", "/"))


def remedy_of(target: DockerTarget) -> str:
    """What to do when the engine of *target* does not answer."""
    unset = "" if target.docker_url else ", or DOCKER_HOST of the worker"
    return (
        "see that it runs, that this worker may use it, and that docker_url of compute target "
        f"{target.name!r}{unset} is right"
    )


def docker_client(target: DockerTarget, *, logs_in: bool = True, remedy: str | None = None) -> APIClient:
    """A new low-level client of the engine of *target*; raises as :func:`docker_driver`.

    With *logs_in* it is logged in at the registry of its ``docker_conn_id``, as a build may need it.
    *remedy* is what to do when it does not answer; default is that of a target's own engine.
    """
    from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
    from airflow.providers.docker.hooks.docker import DockerHook
    from airflow.sdk.exceptions import AirflowRuntimeError
    from docker.errors import APIError, DockerException

    conn_id = target.docker_conn_id if logs_in else None
    try:
        client = DockerHook(docker_conn_id=conn_id, version="auto", **_address(target)).api_client
    except (AirflowNotFoundException, AirflowRuntimeError, ValueError) as error:
        raise TargetError(
            f"docker_conn_id {conn_id!r} of compute target {target.name!r} cannot be used: {error}; it must "
            "be a connection of type docker with the host and the login of a registry"
        ) from error
    except APIError as error:
        kind = InfrastructureError if error.is_server_error() else TargetError
        raise kind(
            f"the registry of docker_conn_id {conn_id!r} of compute target {target.name!r} does not let this "
            f"worker in: {error.explanation or error}"
        ) from error
    except (AirflowException, DockerException, OSError) as error:
        # Where no engine answers at all, the hook logs the reason and raises another sentence.
        reason = "the line before says why" if str(error).startswith("Failed to establish") else error
        raise InfrastructureError(
            f"the Docker engine of compute target {target.name!r} does not answer at {_url(target)}: {reason}"
            f"; {remedy or remedy_of(target)}"
        ) from error
    if str(client.base_url).startswith(("http://", "https://")):
        _keep_alive(client)
    return client


def ask_engine(target: DockerTarget, seconds: int) -> None:
    """Raise whatever comes of it when the engine of *target* does not answer within some *seconds*."""
    from docker import APIClient

    APIClient(version="auto", timeout=seconds, **_address(target)).close()


def _url(target: DockerTarget) -> str:
    return target.docker_url or os.environ.get("DOCKER_HOST") or DEFAULT_URL


def _variables(target: DockerTarget) -> dict[str, str]:
    """Address and keys, as variables of Docker's own client; what is missing is as the worker has it."""
    if target.tls_directory is None:
        return {"DOCKER_HOST": _url(target)}
    return {
        "DOCKER_HOST": _url(target),
        "DOCKER_CERT_PATH": target.tls_directory,
        "DOCKER_TLS_VERIFY": "1",
    }


def _address(target: DockerTarget) -> dict[str, Any]:
    """Address and TLS settings; where *target* says nothing, by the variables of Docker's own client."""
    from docker.errors import TLSParameterError
    from docker.utils import kwargs_from_env

    chosen = {**os.environ, **_variables(target)}
    try:
        found: dict[str, Any] = kwargs_from_env(environment=chosen)
    except TLSParameterError as error:
        raise TargetError(
            f"compute target {target.name!r}: {chosen.get('DOCKER_CERT_PATH')!r} does not hold ca.pem, "
            f"cert.pem and key.pem for its Docker engine: {error}"
        ) from error
    return found


def _keep_alive(client: APIClient) -> None:
    """Let the connections of *client* break when the other end is gone."""
    from requests.adapters import HTTPAdapter

    class KeepingAlive(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, socket_options=_KEEP_ALIVE, **options)

    for scheme in ("http://", "https://"):
        client.mount(scheme, KeepingAlive())
