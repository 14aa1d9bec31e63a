from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.targets.python_path import PythonPath


@pytest.fixture(autouse=True)
def inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/lib:lib")


def test_a_step_inherits_the_workers_path() -> None:
    assert PythonPath.of_step({}, is_isolated=False).entries == ("/opt/lib", "lib")


def test_what_the_author_declares_takes_its_place() -> None:
    assert PythonPath.of_step({"PYTHONPATH": "/mine"}, is_isolated=False).entries == ("/mine",)
    assert PythonPath.of_step({"PYTHONPATH": ""}, is_isolated=False).entries == ()
    assert PythonPath.of_step({"PYTHONPATH": "/mine"}, is_isolated=True).entries == ("/mine",)


def test_a_virtual_environment_does_not_inherit_it() -> None:
    assert PythonPath.of_step({}, is_isolated=True).entries == ()


def test_relative_entries_are_folders_of_the_source_directory() -> None:
    path = PythonPath(("/opt/lib", "lib", "", ".", "./a/../b/", "../outside", "/opt/lib.zip"))
    assert path.inside == ("lib/", "", "", "b/")
    assert path.outside == ("/opt/lib", "/opt/lib.zip")


def test_the_value_has_another_folder_first_and_the_rest_as_it_was() -> None:
    assert PythonPath(("/opt/lib", "", "lib")).after(Path("/first")) == "/first:/opt/lib::lib"
    assert PythonPath().after(Path("/first")) == "/first"
