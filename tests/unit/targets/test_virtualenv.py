"""Environments that uv really builds. Those that need a package index are skipped without one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.targets.virtualenv import COMPLETE_MARK, VirtualEnvironments

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LOCK = "six==1.16.0\n"


@pytest.fixture(autouse=True)
def no_python_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def environments(tmp_path: Path) -> VirtualEnvironments:
    return VirtualEnvironments(tmp_path / "cache")


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        VirtualEnvironments(tmp_path_factory.mktemp("probe")).resolve(["six==1.16.0"], sys.executable, print)
    except TargetError as error:
        pytest.skip(f"there is no package index: {error}")


def output_of(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("package_index")
def test_packages_resolve_to_sorted_pins(environments: VirtualEnvironments, said: list[str]) -> None:
    lock = environments.resolve(["six<1.17,>=1.16", "packaging==24.0"], VERSION, said.append)
    assert lock == "packaging==24.0\nsix==1.16.0\n"


def test_no_packages_need_no_resolution(environments: VirtualEnvironments, said: list[str]) -> None:
    assert environments.resolve([], VERSION, said.append) == ""
    assert said == []


@pytest.mark.usefixtures("package_index")
def test_packages_that_contradict_each_other_are_an_error_in_uvs_words(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    with pytest.raises(TargetError, match=r"(?s)cannot resolve the packages; uv says:.*six==1\.15"):
        environments.resolve(["six==1.16.0", "six==1.15.0"], VERSION, said.append)


@pytest.mark.usefixtures("package_index")
def test_the_environment_has_what_the_lock_names(environments: VirtualEnvironments, said: list[str]) -> None:
    python = environments.python(LOCK, VERSION, said.append)
    assert output_of(python, "import six; print(six.__version__)") == "1.16.0"
    assert said[0] == f"building a virtual environment with Python {VERSION} and 1 packages"


def test_a_built_environment_is_given_again_in_silence(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    python = environments.python("", VERSION, said.append)
    said.clear()
    assert environments.python("", VERSION, said.append) == python
    assert said == []


def test_an_interpreter_may_be_given_by_its_path(environments: VirtualEnvironments, said: list[str]) -> None:
    python = environments.python("", sys.executable, said.append)
    assert output_of(python, "import sys; print('%d.%d' % sys.version_info[:2])") == VERSION
    assert python != environments.python("", VERSION, said.append)


def test_an_interpreter_that_does_not_exist_is_named(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    with pytest.raises(TargetError, match="'/no/such/python' is not a Python interpreter"):
        environments.python("", "/no/such/python", said.append)


def test_a_version_that_is_not_installed_is_an_error_in_uvs_words(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    with pytest.raises(TargetError, match=r"(?s)cannot build the virtual environment; uv says:.*3\.99"):
        environments.python("", "3.99", said.append)


def test_an_environment_whose_building_was_interrupted_is_built_anew(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    python = environments.python("", VERSION, said.append)
    folder = python.parents[1]
    (folder / COMPLETE_MARK).unlink()
    (folder / "rest").touch()
    said.clear()
    assert environments.python("", VERSION, said.append) == python
    assert said[0].startswith(f"removing {folder}")
    assert not (folder / "rest").exists()


def test_an_environment_whose_interpreter_is_gone_is_built_anew(
    environments: VirtualEnvironments, said: list[str]
) -> None:
    python = environments.python("", VERSION, said.append)
    python.unlink()
    python.symlink_to("/no/such/python")
    assert environments.python("", VERSION, said.append).exists()


def test_two_that_want_the_same_environment_build_it_once(tmp_path: Path) -> None:
    said: list[str] = []
    both = threading.Barrier(2)

    def want() -> None:
        environments = VirtualEnvironments(tmp_path)
        both.wait()
        environments.python("", VERSION, said.append)

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([line for line in said if line.startswith("building")]) == 1


def test_who_waits_for_another_process_says_so(environments: VirtualEnvironments, said: list[str]) -> None:
    folder = environments.python("", VERSION, said.append).parents[1]
    (folder / COMPLETE_MARK).unlink()
    with folder.with_name(f"{folder.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def say(line: str) -> None:
            said.append(line)
            if line.startswith("waiting"):
                (folder / COMPLETE_MARK).touch()
                fcntl.flock(held, fcntl.LOCK_UN)

        said.clear()
        environments.python("", VERSION, say)
    assert said == ["waiting for another process that builds the same virtual environment"]


def test_a_uv_that_is_not_there_is_named(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(TargetError, match=f"there is no uv at {tmp_path}{os.sep}uv"):
        VirtualEnvironments(tmp_path, uv=tmp_path / "uv").python("", VERSION, said.append)
