"""The logins at registries, from Airflow's connections and from Docker's own configuration."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from airflow_mlpipe import DockerTarget
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.compute.registry_logins import RegistryLogins
from airflow_mlpipe.pipeline.settings import Settings


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


@pytest.mark.parametrize(
    ("host", "port", "registry", "plain_http"),
    [
        ("registry.example.com", None, "registry.example.com", False),
        ("registry.example.com", 5000, "registry.example.com:5000", False),
        ("https://registry.example.com/v2", None, "registry.example.com", False),
        ("http://registry:5000", None, "registry:5000", True),
        ("https://index.docker.io/v1/", None, "docker.io", False),
    ],
)
def test_a_connection_of_docker_is_the_login_at_its_host(
    monkeypatch: pytest.MonkeyPatch, host: str, port: int | None, registry: str, plain_http: bool
) -> None:
    connect(monkeypatch, "images", conn_type="docker", host=host, port=port, login="me", password="word")
    login = RegistryLogins({"images": "a test"})(registry)
    assert (login.username, login.password, login.plain_http) == ("me", "word", plain_http)
    assert "word" not in repr(login)


def test_what_docker_login_left_counts_where_no_connection_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    auth = b64encode(b"you:their-word").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"registry.example.com": {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    logins = RegistryLogins({})
    assert logins("registry.example.com").username == "you"
    assert logins("another.example.com").username == ""


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (None, "names the connection 'images', which is not there; add it"),
        ({"conn_type": "http", "host": "x"}, "of type 'http' with the host 'x'; it must be of type docker"),
        ({"conn_type": "docker"}, "of type 'docker' with the host None; it must be of type docker"),
    ],
)
def test_a_connection_for_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object] | None, sentence: str
) -> None:
    if fields is not None:
        connect(monkeypatch, "images", **fields)
    with pytest.raises(DefinitionError, match=sentence):
        RegistryLogins({"images": "a test"})("x")


def test_a_connection_that_is_not_there_is_told_with_the_setting_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__IMAGE_CONNECTIONS", "hub")
    settings, target = Settings.read(), DockerTarget("trainer", docker_conn_id="registry")
    connect(monkeypatch, "registry", conn_type="docker", host="x")
    with pytest.raises(DefinitionError, match=r"^\[mlpipe\] image_connections names the connection 'hub'"):
        RegistryLogins.of(target, settings)("x")
    monkeypatch.delenv("AIRFLOW_CONN_REGISTRY")
    connect(monkeypatch, "hub", conn_type="docker", host="x")
    with pytest.raises(
        DefinitionError, match=r"^docker_conn_id of compute target 'trainer' names the connection 'registry'"
    ):
        RegistryLogins.of(target, settings)("x")
