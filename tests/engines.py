"""A real Docker engine and a real Kubernetes cluster for tests, which run already.

MLPIPE_TEST_DOCKER (or DOCKER_HOST) is the engine's address, MLPIPE_TEST_KUBECONFIG the path of a kubeconfig,
and MLPIPE_TEST_IMAGE an image with Python 3.10 or later that both have; that of MLPIPE_TEST_S3_IMAGE has s3fs
as well. Without an address the tests are skipped, and say why; when nothing answers at an address that was
given, they are skipped too, but fail with CI set.

Whoever makes images, containers or namespaces takes them away again: others may use the same services.
A cluster whose processes are this user's is killed and frozen, and mended (tests/targets/disturbance.py).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.services import ObjectStore, new_bucket, running_s3

DOCKER_ADDRESS = "MLPIPE_TEST_DOCKER"
KUBECONFIG_PATH = "MLPIPE_TEST_KUBECONFIG"
IMAGE_NAME = "MLPIPE_TEST_IMAGE"
S3_IMAGE_NAME = "MLPIPE_TEST_S3_IMAGE"
DEFAULT_IMAGE = "mlpipe-python:3.11"
DEFAULT_S3_IMAGE = "mlpipe-python-s3fs:3.11"

_ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """A cluster, and the path of the kubeconfig by which it is reached."""

    kubeconfig: Path

    @property
    def core(self) -> Any:
        """A new client, a ``CoreV1Api``, that shares nothing with others."""
        from kubernetes import client, config

        return client.CoreV1Api(config.new_client_from_config(str(self.kubeconfig)))


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The address of a Docker engine, such as ``unix:///var/run/docker.sock``."""
    if (address := docker_address()) is None:
        pytest.skip(f"no Docker engine: set {DOCKER_ADDRESS} to the address of one")
    import docker

    try:
        docker.APIClient(address, timeout=_ANSWER_SECONDS).ping()
    except (docker.errors.DockerException, OSError) as error:
        _does_not_answer(f"the Docker engine at {address} does not answer: {error}")
    return address


@pytest.fixture(scope="session")
def docker_client(docker_host: str) -> Any:
    """A low-level client, a ``docker.APIClient``, of the engine."""
    import docker

    return docker.APIClient(docker_host, version="auto")


@pytest.fixture(scope="session")
def image(docker_client: Any) -> str:
    """The name of an image with Python that the engine has."""
    return _present(docker_client, image_name(), IMAGE_NAME)


@pytest.fixture(scope="session")
def s3_image(docker_client: Any) -> str:
    """The name of an image with Python and s3fs that the engine has."""
    return _present(docker_client, os.environ.get(S3_IMAGE_NAME, DEFAULT_S3_IMAGE), S3_IMAGE_NAME)


@pytest.fixture(scope="session")
def bridge_s3_server(docker_client: Any) -> Iterator[str]:
    """The address of an S3 server that this machine, containers and pods all reach by it."""
    network = docker_client.inspect_network("bridge")["IPAM"]["Config"][0]
    with running_s3(network.get("Gateway") or str(ip_network(network["Subnet"])[1])) as address:
        yield address


@pytest.fixture
def bridge_s3(bridge_s3_server: str) -> ObjectStore:
    """An empty bucket that this machine, containers and pods all reach by the same address."""
    return new_bucket(bridge_s3_server)


@pytest.fixture(scope="session")
def kubernetes() -> Cluster:
    """A cluster whose nodes have the image of :func:`image_name`."""
    path = os.environ.get(KUBECONFIG_PATH)
    if not path:
        pytest.skip(f"no Kubernetes cluster: set {KUBECONFIG_PATH} to the path of a kubeconfig")
    cluster = Cluster(Path(path))
    try:
        cluster.core.list_node(_request_timeout=_ANSWER_SECONDS)
    except Exception as error:  # of the client, of its HTTP library, or of a kubeconfig that is wrong
        _does_not_answer(f"the Kubernetes cluster of {path} does not answer: {error}")
    return cluster


@pytest.fixture
def namespace(kubernetes: Cluster) -> Iterator[str]:
    """A new namespace in which pods can start; it is deleted, with all that is in it, after the test."""
    with new_namespace(kubernetes) as name:
        yield name


@pytest.fixture
def shared_folder(tmp_path: Path) -> Path:
    """A folder that containers and pods may be shown under its own path, whatever user they are."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@contextmanager
def new_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of *cluster* in which pods can start, for as long as the block lasts."""
    core, name = cluster.core, f"mlpipe-test-{uuid.uuid4().hex[:10]}"
    core.create_namespace({"metadata": {"name": name}})
    try:
        # No pod is admitted before the namespace has its service account.
        _wait_until(lambda: core.read_namespaced_service_account("default", name))
        yield name
    finally:
        core.delete_collection_namespaced_pod(name, grace_period_seconds=0)
        core.delete_namespace(name)


def docker_address() -> str | None:
    """The address that was given for a Docker engine, whether it answers or not."""
    return os.environ.get(DOCKER_ADDRESS) or os.environ.get("DOCKER_HOST") or None


def image_name() -> str:
    """The name of the image that the engine and the nodes have."""
    return os.environ.get(IMAGE_NAME, DEFAULT_IMAGE)


def _present(engine: Any, image: str, variable: str) -> str:
    import docker

    try:
        engine.inspect_image(image)
    except docker.errors.ImageNotFound:
        _does_not_answer(f"the Docker engine has no image {image}: make it, or name another in {variable}")
    return image


def _does_not_answer(reason: str) -> NoReturn:
    # Somebody promised the service, so where changes are judged its absence is not to go unseen.
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _wait_until(succeeds: Callable[[], object], seconds: float = 180.0) -> None:
    from kubernetes.client import ApiException

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ApiException):
            succeeds()
            return
        time.sleep(0.05)
    succeeds()
