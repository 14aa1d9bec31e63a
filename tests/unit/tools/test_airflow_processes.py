from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.airflow_processes import COMPONENT_LOGS, end_processes_of, last_lines, processes_of

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
# Its child is in another session and lacks the variable, as a step's process may.
HAS_CHILD = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], env={{}}, start_new_session=True)
child.wait()
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test, whatever it found."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(script: str, home: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A process with that AIRFLOW_HOME that has written its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "AIRFLOW_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_every_process_of_the_home_ends_and_none_of_another_home(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    mine = start(SLEEPS, tmp_path / "mine", started)
    other = start(SLEEPS, tmp_path / "other", started)

    assert end_processes_of(tmp_path / "mine", grace=0) == 1

    assert mine.poll() is not None
    assert other.poll() is None


def test_a_child_without_the_variable_ends_with_its_parent(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    parent = start(HAS_CHILD, tmp_path, started)
    (child,) = psutil.Process(parent.pid).children()

    end_processes_of(tmp_path, grace=0)

    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_orphan_that_hides_its_environment_is_known_by_its_log(tmp_path: Path) -> None:
    log_path = tmp_path / COMPONENT_LOGS / "scheduler.log"
    log_path.parent.mkdir()
    parent_script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], env={{}})"
    with log_path.open("wb") as log:
        subprocess.run([sys.executable, "-c", parent_script], stdout=log, check=True, start_new_session=True)

    assert end_processes_of(tmp_path, grace=0) == 1
    assert processes_of(tmp_path) == []


def test_ending_the_processes_of_a_home_without_any_is_fine(tmp_path: Path) -> None:
    assert end_processes_of(tmp_path, grace=5) == 0


def test_the_process_that_asks_is_spared_though_it_has_the_same_home(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from tools.airflow_processes import end_processes_of, processes_of; "
        "home = pathlib.Path(sys.argv[1]); print(processes_of(home), end_processes_of(home, grace=0))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] 0\n"


def test_a_home_is_recognised_through_a_symbolic_link(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    process = start(SLEEPS, tmp_path / "link", started)

    assert [found.pid for found in processes_of(tmp_path / "real")] == [process.pid]


def test_the_last_lines_of_a_missing_log_are_nothing(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log").strip() == "(nothing)"
