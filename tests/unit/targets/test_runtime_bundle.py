from __future__ import annotations

import ast
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import airflow_mlpipe
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

ROOT = Path(airflow_mlpipe.__file__).parents[1]


def imported_from(python: list[str], module: str, path: list[Path]) -> Path:
    """Where *python*, given *path* as PYTHONPATH, finds the last of *module*; run where nothing else is."""
    done = subprocess.run(
        [*python, "-c", f"import {module}; print({module.split(', ')[-1]}.__file__)"],
        cwd=path[0],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def test_the_bundle_has_the_standard_library_part_and_nothing_else(tmp_path: Path) -> None:
    bundle = runtime_bundle(tmp_path)
    package = bundle / "airflow_mlpipe"
    assert {path.name for path in package.iterdir()} == {
        *("__init__.py", "version.py", "errors.py", "access.py", "handing.py", "records.py"),
        *("runtime", "carrier", "store"),
    }
    assert {path.name for path in bundle.iterdir()} == {"airflow_mlpipe", "fallback"}
    for path in package.rglob("*.py"):
        assert path.read_bytes() == (ROOT / "airflow_mlpipe" / path.relative_to(package)).read_bytes()


def test_the_bundle_has_all_that_it_imports_of_the_package(tmp_path: Path) -> None:
    bundle = runtime_bundle(tmp_path)
    missing = set()
    for path in (bundle / "airflow_mlpipe").rglob("*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            place = bundle / (module or "airflow_mlpipe").replace(".", "/")
            is_ours = module is not None and module.startswith("airflow_mlpipe")
            if is_ours and not (place.is_dir() or place.with_suffix(".py").is_file()):
                missing.add(f"{path.relative_to(bundle)} imports {module}")
    assert missing == set()


def test_a_second_call_gives_the_same_bundle_untouched(tmp_path: Path) -> None:
    first = runtime_bundle(tmp_path)
    (first / "mark").touch()
    assert runtime_bundle(tmp_path) == first
    assert (first / "mark").exists()


def test_many_processes_make_one_bundle(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        bundles = set(pool.map(runtime_bundle, [tmp_path] * 8))
    assert list(tmp_path.iterdir()) == list(bundles)


def test_other_users_may_read_it(tmp_path: Path) -> None:
    assert runtime_bundle(tmp_path).stat().st_mode & 0o055 == 0o055


def test_an_interpreter_without_the_package_gets_the_bundles(tmp_path: Path) -> None:
    bundle = runtime_bundle(tmp_path)
    found = imported_from([sys.executable, "-S"], "airflow_mlpipe.runtime", [bundle / "fallback"])
    assert found == bundle / "airflow_mlpipe" / "runtime" / "__init__.py"


def test_an_interpreter_with_the_whole_package_keeps_it(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "airflow_mlpipe" / "model").mkdir(parents=True)
    (site / "airflow_mlpipe" / "__init__.py").touch()
    (site / "airflow_mlpipe" / "model" / "__init__.py").touch()
    fallback = runtime_bundle(tmp_path / "cache") / "fallback"
    python = [sys.executable, "-S"]
    # The stand-in comes first on the path, and still leaves the way to the one behind it.
    found = imported_from(python, "airflow_mlpipe.model", [fallback, site])
    assert found == site / "airflow_mlpipe" / "model" / "__init__.py"


def test_the_workers_own_interpreter_keeps_its_installed_package(tmp_path: Path) -> None:
    fallback = runtime_bundle(tmp_path) / "fallback"
    assert (
        imported_from([sys.executable], "airflow_mlpipe", [fallback]) == ROOT / "airflow_mlpipe/__init__.py"
    )


def test_an_interpreter_without_packages_finds_the_stand_in_for_azureml(tmp_path: Path) -> None:
    bundle = runtime_bundle(tmp_path)
    folder = bundle / "airflow_mlpipe" / "runtime" / "azureml_compat"
    modules = "azureml.core.authentication, azureml.data.dataset_factory, azureml.core.run"
    found = imported_from([sys.executable, "-S"], modules, [bundle / "fallback", folder])
    assert found == folder / "azureml" / "core" / "run.py"


def test_processes_that_a_script_spawns_find_the_package_too(tmp_path: Path) -> None:
    fallback = runtime_bundle(tmp_path) / "fallback"
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "from airflow_mlpipe import Run\n"
        "def name(_): return Run.get_context().id\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(name, [0]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLPIPE_SPEC"}
    done = subprocess.run(
        [sys.executable, "-S", str(script)],
        env={**environment, "PYTHONPATH": str(fallback)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['OfflineRun']\n"
