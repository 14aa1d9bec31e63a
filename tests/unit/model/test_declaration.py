from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe import Command, Environment, LocalTarget, PipelineParameter, RemoteTarget, Script
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import checked_name


@pytest.mark.parametrize("name", ["a", "_a", "Model_2", "a" * 64])
def test_a_name_of_letters_digits_and_underscores_is_valid(name: str) -> None:
    assert checked_name("output", name) == name


@pytest.mark.parametrize("name", ["", "2a", "a b", "a-b", "a.b", "a/b", "ä", "a" * 65, "a\n", None, 1])
def test_any_other_name_is_refused_with_the_rule(name: object) -> None:
    with pytest.raises(DefinitionError, match="is not valid: use 1 to 64 letters, digits and underscores"):
        checked_name("output", name)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Environment(packages=["six"]),
            r"Environment.packages: there is no such field: did you mean 'pip_packages'\?$",
        ),
        (
            lambda: LocalTarget(gpus=1),
            "LocalTarget.gpus: there is no such field: the fields are type, name, pool, .*, python$",
        ),
        (lambda: Environment(pip_packages="six"), r"Environment.pip_packages: write a list: \['six'\]$"),
        (lambda: Environment(pip_packages=6), r"Environment.pip_packages: write a list \(given: 6\)$"),
        (lambda: Environment(environment_variables="A=1"), "write a mapping of names to values .*'A=1'"),
        (lambda: Environment(python_version=3.11), "write a text, in quotation marks .given: 3.11.$"),
        (lambda: Environment(python_version="3"), "python_version is a minor version such as '3.11'"),
        (lambda: Environment(pip_packages=["a b"]), r"'a b' is not a requirement such as"),
        (lambda: LocalTarget(pool_slots="many"), r"LocalTarget.pool_slots: .* \(given: 'many'\)"),
        (lambda: LocalTarget(pool_slots=True), r"LocalTarget.pool_slots: .* \(given: True\)"),
        (lambda: LocalTarget(""), "LocalTarget.name: '' is no name: write at least one character"),
        (lambda: RemoteTarget(ssh_conn_id=" "), "RemoteTarget.ssh_conn_id: ' ' is no name"),
        (lambda: RemoteTarget(ssh_conn_id="a", folder="~/x/../.."), "'~/x/../..' is no folder for attempts"),
        (lambda: RemoteTarget(ssh_conn_id="a", patience_seconds=True), r"patience_seconds: .* \(given: True"),
        (
            lambda: LocalTarget(python="python3"),
            "LocalTarget.python: 'python3' is a name; write the absolute path",
        ),
        (lambda: PipelineParameter("lr", [1]), "a parameter's default is a str, int, float, bool or None"),
        (lambda: PipelineParameter("l r"), "parameter name 'l r' is not valid"),
        (lambda: Command(argv="Rscript fit.R"), "no shell splits a text"),
        (lambda: Command(argv=[]), "a command is a list"),
        (lambda: Script(script_name=""), "script_name is a path inside source_directory"),
        (lambda: Script(script_name="../train.py"), "script_name is a path inside source_directory"),
        (lambda: Script(script_name="/train.py"), "script_name is a path inside source_directory"),
        (lambda: Script(script_name="a\\train.py"), "script_name is a path inside source_directory"),
    ],
)
def test_a_wrong_field_is_told_in_a_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        make()


def test_every_mistake_of_a_declaration_is_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Environment(python_version="2", packages=[])
    assert str(caught.value).count("; ") == 1


def test_a_definition_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="script_name"):
        Script(script_name="")


def test_a_declaration_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Script(script_name="train.py").script_name = "other.py"  # type: ignore[misc]


def test_a_declaration_prints_what_its_author_wrote() -> None:
    assert str(LocalTarget("gpu", pool="gpus")) == "LocalTarget(name='gpu', pool='gpus')"
