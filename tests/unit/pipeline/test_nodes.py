"""The nodes of a target: as many as it may have at once, and no step loses one that it left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mlpipe.pipeline.nodes import Nodes
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Leases

NodesOf = Callable[[str, int], Nodes]


@pytest.fixture
def nodes(tmp_path: Path) -> NodesOf:
    datastore = Datastore.open(f"file://{tmp_path}")
    return lambda target, max_nodes: Nodes(Leases(datastore), target, max_nodes)


def test_there_are_as_many_nodes_as_the_target_says(nodes: NodesOf) -> None:
    gpu = nodes("gpu", 2)
    first, second = gpu.take("a", "a-1"), gpu.take("b", "b-1")
    assert first is not None
    assert second is not None
    assert gpu.take("c", "c-1") is None
    first.release()
    assert gpu.take("c", "c-1") is not None
    assert gpu.take("d", "d-1") is None


def test_targets_do_not_take_each_others_nodes(nodes: NodesOf) -> None:
    assert nodes("gpu", 1).take("a", "a-1") is not None
    assert nodes("cpu", 1).take("b", "b-1") is not None


def test_who_left_a_node_finds_it_again_and_no_second_one(nodes: NodesOf) -> None:
    gpu = nodes("gpu", 2)
    left = gpu.take("a", "a-1")
    assert left is not None
    left.leave()
    again = gpu.take("a", "a-1")
    assert again is not None
    assert again.fingerprint == left.fingerprint
    assert gpu.take("b", "b-1") is not None


def test_the_node_of_one_who_died_is_free_when_its_lease_has_lapsed(tmp_path: Path) -> None:
    datastore = Datastore.open(f"file://{tmp_path}")
    assert Nodes(Leases(datastore, duration=0.001), "gpu", 1).take("dead", "dead-1") is not None
    gpu = Nodes(Leases(datastore), "gpu", 1)
    with ThreadPoolExecutor() as pool:
        taken = list(pool.map(lambda name: gpu.take(name, f"{name}-1"), "abcdef"))
    assert len([lease for lease in taken if lease is not None]) == 1
