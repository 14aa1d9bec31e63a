"""What a list of packages stands for, when several datastores may know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.targets.environments import LocalEnvironments, UnresolvedPackages
from airflow_mlpipe.targets.python_path import PythonPath

PACKAGES = Environment(pip_packages=["one"])
CODE = Code(files={}, scope="imports", external=())


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Datastore, Datastore]:
    own, other = (Datastore.open(str(tmp_path / name)) for name in ("own", "other"))
    return own, other


def plan(tmp_path: Path, own: Datastore, *others: Datastore) -> str | None:
    """The lock that a worker goes by who may not resolve anything himself."""
    with HashCache(tmp_path / "digests.sqlite") as memory:
        environments = LocalEnvironments(
            LocalTarget(),
            own,
            tmp_path / "cache",
            memory,
            lambda line: None,
            others=others,
            resolves_packages=False,
        )
        return environments.plan(PACKAGES, CODE, PythonPath()).lock


def keep_lock(datastore: Datastore, tmp_path: Path, lock: str) -> None:
    """Put *lock* where a worker with only *datastore* looks for it."""
    looked_for: list[str] = []

    class Listening(Datastore):
        def read(self, key: str) -> bytes | None:
            looked_for.append(key)
            return super().read(key)

    folder = datastore.url.removeprefix("file://")
    with pytest.raises(UnresolvedPackages):
        plan(tmp_path, Listening.open(folder))
    datastore.write(looked_for[-1], lock.encode())


def test_what_another_datastore_has_resolved_is_not_resolved_anew(
    tmp_path: Path, stores: tuple[Datastore, Datastore]
) -> None:
    own, other = stores
    keep_lock(other, tmp_path, "one==1.0\n")
    assert plan(tmp_path, own, other) == "one==1.0\n"
    assert list(own.files()) == []


def test_what_the_own_datastore_has_resolved_counts_first(
    tmp_path: Path, stores: tuple[Datastore, Datastore]
) -> None:
    own, other = stores
    keep_lock(own, tmp_path, "one==2.0\n")
    keep_lock(other, tmp_path, "one==1.0\n")
    assert plan(tmp_path, own, other) == "one==2.0\n"


def test_what_nobody_has_resolved_is_told(tmp_path: Path, stores: tuple[Datastore, Datastore]) -> None:
    with pytest.raises(UnresolvedPackages, match="the packages one were never resolved"):
        plan(tmp_path, *stores)
