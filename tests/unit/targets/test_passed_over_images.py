"""An environment that is for containers too, on the worker's own machine."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.targets.environments import LocalEnvironments
from airflow_mlpipe.targets.python_path import PythonPath

CODE = Code(files={}, scope="imports", external=())


def test_on_a_local_target_the_image_is_passed_over_and_does_not_count(tmp_path: Path) -> None:
    told: list[str] = []
    with HashCache(tmp_path / "digests.sqlite") as memory:
        store = Datastore.open(str(tmp_path / "store"))
        offered = LocalEnvironments(LocalTarget(), store, tmp_path / "cache", memory, told.append)
        plain = offered.plan(Environment(), CODE, PythonPath())
        assert told == []
        with_image = offered.plan(Environment(image="python:3.12"), CODE, PythonPath())
        with_file = offered.plan(Environment(dockerfile="FROM python:3.12"), CODE, PythonPath())
    assert plain == with_image == with_file
    assert plain.image is None
    assert [line.split(":")[0] for line in told] == ["The image of the environment is passed over"] * 2
