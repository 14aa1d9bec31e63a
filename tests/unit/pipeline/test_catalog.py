from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_mlpipe import Environment, LocalTarget
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.catalog import compute_target, environment


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "targets.yaml"
    path.write_text("big: {type: local, pool: gpus}\n")
    monkeypatch.setenv("AIRFLOW__MLPIPE__COMPUTE_TARGETS", str(path))
    return path


def test_without_a_file_there_is_the_local_target() -> None:
    assert compute_target(None) == compute_target("local") == LocalTarget()


def test_an_object_is_taken_as_it_is() -> None:
    target, boosted = LocalTarget("mine"), Environment(pip_packages=["xgboost"])
    assert compute_target(target) is target
    assert environment(boosted) is boosted
    assert environment(None) == Environment()


@pytest.mark.usefixtures("targets")
def test_a_name_is_looked_up_in_the_file() -> None:
    assert compute_target("big") == LocalTarget("big", pool="gpus")
    assert compute_target("local") == LocalTarget()


def test_an_unknown_name_is_told_with_the_known_ones(targets: Path) -> None:
    with pytest.raises(DefinitionError, match=f"'tpu' is not in {targets}; known there: big, local"):
        compute_target("tpu")


@pytest.mark.parametrize(
    ("lookup", "option"), [(compute_target, "compute_targets"), (environment, "environments")]
)
def test_a_name_without_a_file_is_told_which_option_to_set(lookup: type, option: str) -> None:
    with pytest.raises(
        DefinitionError, match=rf"'gpu' is not known: \[mlpipe\] {option} names no file; set it"
    ):
        lookup("gpu")


def test_what_is_neither_a_name_nor_an_object_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match="a compute target is an object of this package or a name, not 3"
    ):
        compute_target(3)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_told_by_its_option(targets: Path) -> None:
    targets.unlink()
    with pytest.raises(
        DefinitionError, match=rf"\[mlpipe\] compute_targets is {targets}, which cannot be read"
    ):
        compute_target("big")


def test_an_edited_file_is_read_again(targets: Path) -> None:
    assert compute_target("big").pool == "gpus"
    targets.write_text("big: {type: local, pool: rest}\n")
    os.utime(targets, ns=(1, 1))
    assert compute_target("big").pool == "rest"
