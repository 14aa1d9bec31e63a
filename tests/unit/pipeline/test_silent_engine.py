"""What a Docker engine that does not answer is told with: the setting that names it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_mlpipe import DockerTarget, Environment, KubernetesTarget
from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.pipeline.compute.docker import docker_client
from airflow_mlpipe.pipeline.compute.images import image_environments
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.python_path import PythonPath

NOBODY = "unix:///no/such.sock"
UNREACHABLE = "localhost:1/train:7"


class NoEngine(BaseHTTPRequestHandler):
    """Something that tells a version as an engine does, and is none."""

    def do_GET(self) -> None:
        answer = b'{"ApiVersion": "1.44"}' if self.path == "/version" else b"hello"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""


@pytest.fixture
def no_engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), NoEngine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("target", "setting", "other"),
    [
        (
            DockerTarget("trainer", image=UNREACHABLE, docker_url=NOBODY),
            "docker_url of compute target 'trainer' is right",
            "image_builder",
        ),
        (KubernetesTarget(image=UNREACHABLE), "[mlpipe] image_builder", "docker_url"),
    ],
)
def test_an_engine_that_is_asked_for_an_image_is_told_with_the_setting_that_names_it(
    target: ContainerTarget, setting: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__IMAGE_BUILDER", NOBODY)
    environments = image_environments(target, Settings.read(), Stores(Datastore.open(str(tmp_path))))
    (why,) = environments.plan(Environment(), Code({}, "imports", ()), PythonPath()).undetermined
    assert setting in why
    assert other not in why


def test_an_engine_that_is_to_build_is_told_with_the_setting_that_names_it() -> None:
    with pytest.raises(InfrastructureError, match=r"does not answer at unix:///no/such.sock: .*; start it$"):
        docker_client(DockerTarget(docker_url=NOBODY), remedy="start it")


def test_a_line_of_the_log_is_pointed_at_only_where_the_provider_wrote_one(
    no_engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InfrastructureError, match=r"\.sock: the line before says why; see that it runs"):
        docker_client(DockerTarget(docker_url=NOBODY))
    assert "Failed to establish connection to Docker host" in capsys.readouterr().out
    with pytest.raises(InfrastructureError, match=r"does not answer at .*: Failed to ping host .*; see that"):
        docker_client(DockerTarget(docker_url=no_engine))
