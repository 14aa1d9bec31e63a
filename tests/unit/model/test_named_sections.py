"""Compute targets and environments as their YAML files have them."""

from __future__ import annotations

import pytest

from airflow_mlpipe import Environment, LocalTarget
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.environment import parse_environments


def test_targets_are_read_by_name_and_local_is_always_there() -> None:
    named = parse_targets("big: {type: local, pool: gpus, pool_slots: 2}", "targets.yaml")
    assert named == {"local": LocalTarget(), "big": LocalTarget("big", pool="gpus", pool_slots=2)}


def test_local_can_be_described_anew() -> None:
    named = parse_targets("local: {type: local, pool: small}", "targets.yaml")
    assert named == {"local": LocalTarget("local", pool="small")}


def test_environments_are_read_by_name() -> None:
    named = parse_environments("boost: {pip_packages: ['xgboost==2.1.0']}\nplain:\n", "environments.yaml")
    assert named == {
        "boost": Environment("boost", pip_packages=("xgboost==2.1.0",)),
        "plain": Environment("plain"),
    }


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_names_nothing(text: str) -> None:
    assert parse_environments(text, "environments.yaml") == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "targets.yaml is not YAML"),
        ("[a]", "targets.yaml must map names to compute targets; it holds list"),
        ("1: {type: local}", "targets.yaml: compute target 1 must be a name with fields"),
        ("a: local", "targets.yaml: compute target 'a' must be a name with fields; it is 'local'"),
        ("a: {name: b, type: local}", "compute target 'a' repeats its name as a field"),
        ("a: {type: local, 1: x}", "compute target 'a' has the field 1; a field is a text"),
        (
            "a: {type: [local]}",
            r"compute target 'a' has type \['local'\]; known types: docker, kubernetes, local, remote",
        ),
        (
            "a: {type: slurm}",
            "compute target 'a' has type 'slurm'; known types: docker, kubernetes, local, remote",
        ),
        ("a:", "compute target 'a' has type None; known types: docker, kubernetes, local, remote"),
        ("a: {type: local, gpus: 1}", "targets.yaml: compute target 'a': LocalTarget.gpus: there is no such"),
    ],
)
def test_a_mistake_in_the_targets_names_file_and_section(text: str, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        parse_targets(text, "targets.yaml")


def test_a_mistake_in_the_environments_names_file_and_section() -> None:
    with pytest.raises(DefinitionError, match=r"environments.yaml: environment 'old': .*python_version"):
        parse_environments("old: {python_version: '2.7'}", "environments.yaml")


def test_an_environment_with_packages_or_a_python_is_isolated() -> None:
    assert Environment(pip_packages=["six"]).is_isolated
    assert Environment(python_version="3.12").is_isolated
    assert not Environment(environment_variables={"A": "1"}).is_isolated
