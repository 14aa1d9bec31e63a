"""Deployments that share datastores: what one is told by its configuration, and what it may not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, read_manifest
from tests.airflow.harness import DagFiles, RunOutcome


class Deployments:
    """Runs the same DAG files under one configuration after the other; ``base`` holds their datastores."""

    def __init__(self, dags: DagFiles, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dags = dags
        self.base = base
        self._monkeypatch = monkeypatch
        self._set: set[str] = set()

    def become(self, store: str, **options: str) -> None:
        """Be the deployment whose datastore is *store*, below ``base``, with *options* of ``[mlpipe]``."""
        for name in self._set:
            self._monkeypatch.delenv(name)
        values = {"datastore": self.url(store), **options}
        variables = {f"AIRFLOW__MLPIPE__{name.upper()}": value for name, value in values.items()}
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        self._set = set(variables)

    def url(self, store: str) -> str:
        return f"file://{self.base / store}"

    def datastore(self, store: str) -> Datastore:
        return Datastore.open(self.url(store))

    def manifest(self, store: str, done: RunOutcome, key: str) -> Manifest:
        return read_manifest(self.datastore(store), done.decision(key)["fingerprint"])

    def manifest_path(self, store: str, done: RunOutcome, key: str) -> Path:
        return self.base / store / manifest_key(done.decision(key)["fingerprint"])
