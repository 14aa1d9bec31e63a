"""The public names, and what importing the package costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_mlpipe

PUBLIC = [
    "ArtifactFormat",
    "Command",
    "CommandStep",
    "DataChangeSensor",
    "DataTransferStep",
    "Dataset",
    "Datastore",
    "DockerTarget",
    "Environment",
    "Input",
    "KubernetesTarget",
    "LocalTarget",
    "Model",
    "NodePool",
    "OUTPUT",
    "Output",
    "OutputFileDatasetConfig",
    "OutputReuseSensor",
    "Pickle",
    "PipelineData",
    "PipelineDataReference",
    "PipelineParameter",
    "PythonScriptStep",
    "RemoteTarget",
    "Run",
    "Script",
    "Volume",
    "__version__",
    "changed_data",
    "dataset_asset",
    "expand_in_chunks",
    "explain",
    "files_in",
    "plan",
    "register_artifact",
    "step",
    "watched_data",
]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after *statement*."""
    return {name.partition(".")[0] for name in modules_loaded_by(statement)}


def modules_loaded_by(statement: str) -> set[str]:
    """All modules that a fresh interpreter has loaded after *statement*."""
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    # -S: what an editable installation's .pth files load is not the package's doing.
    command = [sys.executable, "-S", "-c", f"import sys\nsys.path[:0] = {_paths()!r}\n{code}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def _paths() -> list[str]:
    installed = [path for path in sys.path if path.endswith("site-packages")]
    return [str(Path(airflow_mlpipe.__file__).parents[1]), *installed]


def declared_for_type_checkers() -> dict[str, str]:
    """Name to module, as ``if TYPE_CHECKING`` imports them."""
    tree = ast.parse(Path(airflow_mlpipe.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: statement.module or ""
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_the_public_names_are_these() -> None:
    assert sorted(airflow_mlpipe.__all__) == PUBLIC


def test_every_public_name_has_one_home_that_type_checkers_know_too() -> None:
    assert sorted([*airflow_mlpipe._HOMES, "__version__"]) == PUBLIC
    assert declared_for_type_checkers() == airflow_mlpipe._HOMES


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_is_listed(name: str) -> None:
    assert getattr(airflow_mlpipe, name) is not None
    assert name in dir(airflow_mlpipe)


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match=r"'airflow_mlpipe' has no attribute 'Pipeline'"):
        airflow_mlpipe.Pipeline  # noqa: B018


def test_importing_the_package_loads_no_heavy_library() -> None:
    loaded = loaded_by("import airflow_mlpipe")
    assert "airflow_mlpipe" in loaded
    assert not loaded & {"airflow", "pydantic", "pydantic_core", "fsspec", "yaml"}


@pytest.mark.parametrize("statement", ["import airflow_mlpipe.runtime", "from airflow_mlpipe import Run"])
def test_the_runtime_loads_the_standard_library_only(statement: str) -> None:
    strangers = loaded_by(statement) - sys.stdlib_module_names - {"__main__", "airflow_mlpipe"}
    assert strangers == set()


def test_the_check_of_loaded_modules_can_fail() -> None:
    assert "pydantic" in loaded_by("from airflow_mlpipe import PipelineData")


def test_a_dag_file_with_a_step_loads_nothing_that_only_a_running_step_needs() -> None:
    loaded = modules_loaded_by("from airflow_mlpipe.operators.python_script import PythonScriptStep")
    ours = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("airflow_mlpipe.")}
    assert "airflow_mlpipe.sensors" in ours
    assert not ours & {f"airflow_mlpipe.{layer}" for layer in ("reuse", "store", "targets")}
    # What is done to a table is said in the same words where it is declared and where it is read.
    of_runtime = {name for name in loaded if name.startswith("airflow_mlpipe.runtime.")}
    assert {name for name in of_runtime if not name.startswith("airflow_mlpipe.runtime.tables")} == set()
