from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.bundle import bundle_root, script, source_directory


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a bundle, as Airflow announces it, with a DAG folder and code below."""
    root = (tmp_path / "bundle").resolve()
    for folder in ("dags/team/code", "shared"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(root)])
    return root


@pytest.fixture
def dag(root: Path) -> SimpleNamespace:
    return SimpleNamespace(folder=str(root / "dags" / "team"))


def test_the_bundle_is_what_airflow_added_to_the_path(root: Path, dag: SimpleNamespace) -> None:
    assert bundle_root(dag) == root


def test_without_a_bundle_the_folder_of_the_dag_file_is_the_root(tmp_path: Path) -> None:
    assert bundle_root(SimpleNamespace(folder=str(tmp_path))) == tmp_path.resolve()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("code", "dags/team/code"),
        (".", "dags/team"),
        ("../../shared", "shared"),
        ("./code/", "dags/team/code"),
    ],
)
def test_a_source_directory_starts_at_the_dag_file(
    root: Path, dag: SimpleNamespace, given: str, found: str
) -> None:
    assert source_directory(dag, given, "step 'train'") == root / found


@pytest.mark.parametrize("given", ["../../../elsewhere", "/etc", "../../.."])
def test_code_outside_the_bundle_is_refused(dag: SimpleNamespace, given: str) -> None:
    with pytest.raises(
        DefinitionError, match=r"step 'train': source_directory '.*' is .*, outside the DAG bundle"
    ):
        source_directory(dag, given, "step 'train'")


def test_a_link_that_leads_out_of_the_bundle_is_outside(root: Path, dag: SimpleNamespace) -> None:
    (root / "dags" / "team" / "link").symlink_to(root.parent / "elsewhere")
    with pytest.raises(DefinitionError, match="outside the DAG bundle"):
        source_directory(dag, "link", "step 'train'")


def test_a_folder_that_is_not_there_is_told_with_its_path(dag: SimpleNamespace) -> None:
    with pytest.raises(
        DefinitionError, match=r"source_directory 'cod' is not a folder: .*/team/cod does not exist"
    ):
        source_directory(dag, "cod", "step 'train'")


def test_a_script_is_a_file_of_the_source_directory(root: Path) -> None:
    (root / "train.py").touch()
    assert script(root, "train.py", "step 'train'") == root / "train.py"
    for name in ("score.py", "shared"):
        with pytest.raises(DefinitionError, match=f"script_name '{name}' is not a file in {root}"):
            script(root, name, "step 'train'")
