"""When a step has the stand-in for ``azureml``, and what it does to the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.pipeline.azureml_compat import CONTRACT, stands_in, with_stand_in, without_azureml
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.targets.environments import StepEnvironment
from airflow_mlpipe.targets.python_path import PythonPath

NO_PATH = PythonPath()
IMPORTING = Code(files={}, scope="imports", external=("azureml", "pandas"), elsewhere=("azureml", "lib"))
OTHER = Code(files={}, scope="imports", external=("pandas",))


def test_code_that_imports_what_is_not_there_has_the_stand_in() -> None:
    assert stands_in(None, IMPORTING, {"pandas"}, NO_PATH)
    assert not stands_in(None, OTHER, {"pandas"}, NO_PATH)


@pytest.mark.parametrize("installed", ["azureml", "azureml_core", "azureml_sdk"])
def test_where_the_real_one_is_installed_there_is_no_stand_in(installed: str) -> None:
    assert not stands_in(None, IMPORTING, {"pandas", installed}, NO_PATH)


def test_one_that_the_author_put_on_the_path_is_the_real_one_and_counts(tmp_path: Path) -> None:
    (tmp_path / "azureml").mkdir()
    path = PythonPath((str(tmp_path),))
    assert not stands_in(None, IMPORTING, set(), path)
    assert without_azureml(IMPORTING, path) == IMPORTING


def test_the_author_decides() -> None:
    assert stands_in(True, OTHER, {"azureml"}, NO_PATH)
    assert not stands_in(False, IMPORTING, set(), NO_PATH)


def test_with_the_stand_in_no_azureml_is_missing_and_its_contract_counts() -> None:
    needs = without_azureml(IMPORTING, NO_PATH)
    assert (needs.external, needs.elsewhere) == (("pandas",), ("lib",))
    environment = StepEnvironment({"python": "3.11", "distributions": {}}, "python")
    assert with_stand_in(environment).document == {**environment.document, "azureml_compat": CONTRACT}
