from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.targets.interrogation import interrogate


class Notebook:
    """A memory in memory."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], str] = {}

    def lookup(self, kind: str, key: str) -> str | None:
        return self.facts.get((kind, key))

    def remember(self, kind: str, key: str, value: str) -> None:
        self.facts[kind, key] = value


def a_minute_later() -> int:
    return time.time_ns() + 60 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that a virtual environment of this interpreter has on its path."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    return next((tmp_path / "venv").glob("lib/*/site-packages"))


def python(site: Path) -> str:
    return str(site.parents[2] / "bin" / "python")


def test_an_interpreter_tells_its_version_and_its_path_without_the_standard_library(site: Path) -> None:
    found = interrogate(python(site), ["/opt/first"], Notebook())
    assert found.version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found.paths == ("/opt/first", str(site))


def test_the_path_of_a_started_interpreter_is_told_not_that_of_this_process(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/not/asked/for")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert interrogate(python(site), [], Notebook()).paths == (str(site),)


def test_an_answer_is_remembered_until_something_is_installed(site: Path, tmp_path: Path) -> None:
    memory = Notebook()
    first = interrogate(python(site), [], memory, a_minute_later)
    (known,) = memory.facts
    memory.facts[known] = memory.facts[known].replace(f'"{first.version}"', '"3.99"')
    assert interrogate(python(site), [], memory, a_minute_later).version == "3.99"
    assert interrogate(python(site), ["/opt/other"], memory, a_minute_later).version == first.version
    (tmp_path / "source").mkdir()
    (site / "editable.pth").write_text(str(tmp_path / "source"))
    assert interrogate(python(site), [], memory, a_minute_later).paths == (
        str(site),
        str(tmp_path / "source"),
    )


def test_a_users_folder_that_comes_into_being_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.realpath(sys.executable)
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "user"))
    monkeypatch.delenv("PYTHONNOUSERSITE", raising=False)
    memory = Notebook()
    interrogate(real, [], memory, a_minute_later)
    answer = json.loads(next(iter(memory.facts.values())))
    (folder,) = (Path(place) for place in answer["states"] if place.startswith(str(tmp_path)))
    folder.mkdir(parents=True)
    assert str(folder) in interrogate(real, [], memory, a_minute_later).paths


def test_an_answer_about_folders_that_have_just_changed_is_not_remembered(site: Path) -> None:
    memory = Notebook()
    interrogate(python(site), [], memory)
    assert memory.facts == {}


@pytest.mark.parametrize("given", ["/no/such/python", "/bin/false"])
def test_what_does_not_answer_is_an_error_of_the_target(given: str) -> None:
    with pytest.raises(TargetError, match=f"the interpreter {given} does not answer"):
        interrogate(given, [], Notebook())
