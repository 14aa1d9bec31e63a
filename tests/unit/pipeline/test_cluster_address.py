"""What a triggerer is told of the way to a cluster, so that it need not look the connection up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.pipeline.compute.kubernetes import ClusterAddress

CONFIG = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "hidden"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(CONFIG))
    return path


def address(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], **options: Any) -> ClusterAddress:
    """That of a target whose connection has *extra*; the connection is not there any more."""
    text = json.dumps({"conn_type": "kubernetes", "extra": extra})
    with monkeypatch.context() as during:
        during.setenv("AIRFLOW_CONN_POOL", text)
        return ClusterAddress.of(KubernetesTarget(image="python:3.11", kubernetes_conn_id="pool", **options))


def host(found: ClusterAddress) -> str:
    """The server that a triggerer would ask, which has what JSON carried of *found*."""

    async def ask() -> str:
        async with ClusterAddress(**json.loads(json.dumps(asdict(found)))).async_hook().get_conn() as client:
            return str(client.configuration.host)

    return asyncio.run(ask())


@pytest.mark.parametrize("prefix", ["", "extra__kubernetes__"])
def test_a_triggerer_follows_a_connection_without_credentials_that_it_does_not_look_up(
    monkeypatch: pytest.MonkeyPatch, config: Path, prefix: str
) -> None:
    extra = {"kube_config_path": str(config), "kube_config": "", "namespace": "ml"}
    found = address(monkeypatch, {prefix + name: value for name, value in extra.items()})
    assert (found.kubernetes_conn_id, found.namespace) == (None, "ml")
    assert host(found) == "http://127.0.0.1:1"


def test_a_triggerer_reads_the_targets_own_file_rather_than_the_connections(
    monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    found = address(monkeypatch, {"kube_config_path": "/nowhere"}, config_file=str(config))
    assert (found.kubernetes_conn_id, found.extras) == (None, {})
    assert host(found) == "http://127.0.0.1:1"


def test_of_a_connection_with_credentials_a_triggerer_is_told_the_name_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = address(monkeypatch, {"kube_config": json.dumps(CONFIG)})
    assert (found.kubernetes_conn_id, found.extras) == ("pool", None)
    assert "hidden" not in json.dumps(asdict(found))
