"""Steps that are killed for want of memory, in real control groups where this machine lets us make one."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.runtime.memory_limit import MemoryLimit, in_words
from tests.unit.runtime.conftest import PACKAGE_FOLDER, SUPERVISOR

MIB = 1 << 20
EAT = "filled = b'x' * (300 << 20)"
EAT_IN_A_CHILD = f"""
import subprocess, sys
raise SystemExit(subprocess.run([sys.executable, "-c", {EAT!r}]).returncode and 3)
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of 96 MiB."""
    folder, file = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    if not folder.is_dir():
        folder, file = Path("/sys/fs/cgroup"), "memory.max"
    group = folder / f"mlpipe-{uuid.uuid4()}"
    try:
        group.mkdir()
        (group / file).write_text(str(96 * MIB))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error}")
    yield group
    group.rmdir()


def run_in(group: Path, attempt: Any, code: str) -> Any:
    """The result of a step under a supervisor that is in *group* from its first moment."""
    spec = attempt.write(attempt.spec(sys.executable, "-c", code))
    enter_and_become = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    command = ["sh", "-c", enter_and_become, "sh", *SUPERVISOR, str(spec)]
    subprocess.run(command, cwd=PACKAGE_FOLDER, env=dict(os.environ), check=True, timeout=60)
    return attempt.result()


def test_a_step_that_is_killed_at_its_memory_limit_says_so_and_names_the_limit(
    group: Path, attempt: Any
) -> None:
    result = run_in(group, attempt, EAT)
    assert (result.status, result.exit_code, result.out_of_memory) == ("failed", -9, True)
    assert result.message == "killed by signal 9 (SIGKILL): out of memory, the limit is 96 MiB"


def test_a_step_that_fails_because_its_child_was_killed_says_so_too(group: Path, attempt: Any) -> None:
    result = run_in(group, attempt, EAT_IN_A_CHILD)
    assert (result.exit_code, result.out_of_memory) == (3, True)
    assert result.message == ("exited with code 3: a process was killed, out of memory, the limit is 96 MiB")


def test_a_step_that_kills_itself_below_its_limit_is_not_out_of_memory(group: Path, attempt: Any) -> None:
    result = run_in(group, attempt, "import os; os.kill(os.getpid(), 9)")
    assert (result.exit_code, result.out_of_memory) == (-9, False)
    assert "the limit is" not in result.message


class Hierarchy:
    """Version 2 as the kernel shows it to a process in ``pod/main``, in files of a test's own."""

    def __init__(self, folder: Path, root: str = "/", own: str = "/pod/main") -> None:
        self.proc, self.mount = folder / "proc", folder / "a mount"
        self.proc.mkdir()
        (self.mount / "pod/main").mkdir(parents=True)
        (self.proc / "cgroup").write_text(f"0::{own}\n")
        mount = str(self.mount).replace(" ", r"\040")
        (self.proc / "mountinfo").write_text(
            f"24 1 8:1 / / rw,relatime - ext4 /dev/sda rw\n"
            f"31 24 0:28 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup rw,nsdelegate\n"
        )
        for group in ("", "pod", "pod/main"):
            self.count(group)

    def limit(self, group: str, limit: int | str) -> None:
        (self.mount / group / "memory.max").write_text(f"{limit}\n")

    def count(self, group: str, oom: int = 0, oom_kill: int = 0) -> None:
        text = f"low 0\nhigh 0\nmax 7\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n"
        (self.mount / group / "memory.events").write_text(text)


@pytest.fixture
def hierarchy(tmp_path: Path) -> Hierarchy:
    return Hierarchy(tmp_path)


def test_the_limit_around_the_own_group_is_named_when_it_is_what_was_reached(hierarchy: Hierarchy) -> None:
    hierarchy.limit("pod/main", "max")
    hierarchy.limit("pod", 512 * MIB)
    limit = MemoryLimit(hierarchy.proc)
    assert limit.reached() is None
    hierarchy.count("pod", oom=1, oom_kill=1)
    hierarchy.count("pod/main", oom_kill=1)
    assert limit.reached() == 512 * MIB


def test_a_kill_by_a_machine_that_is_out_of_memory_itself_is_not_the_limits(hierarchy: Hierarchy) -> None:
    hierarchy.limit("pod/main", 512 * MIB)
    limit = MemoryLimit(hierarchy.proc)
    hierarchy.count("pod/main", oom_kill=1)
    assert limit.reached() is None


def test_what_was_killed_before_is_another_steps(hierarchy: Hierarchy) -> None:
    hierarchy.limit("pod/main", 512 * MIB)
    hierarchy.count("pod/main", oom=4, oom_kill=4)
    assert MemoryLimit(hierarchy.proc).reached() is None


def test_a_container_finds_its_group_where_only_that_is_mounted(tmp_path: Path) -> None:
    hierarchy = Hierarchy(tmp_path, root="/docker/ab", own="/docker/ab/pod/main")
    hierarchy.limit("pod/main", 256 * MIB)
    limit = MemoryLimit(hierarchy.proc)
    hierarchy.count("pod/main", oom=1, oom_kill=1)
    assert limit.reached() == 256 * MIB


def test_where_there_are_no_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert MemoryLimit(tmp_path / "nothing").reached() is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(512 * MIB, "512 MiB"), (3 * 512 * MIB, "1.5 GiB"), (4096, "4 KiB"), (100, "100 B")],
)
def test_a_limit_is_told_as_people_write_it(size: int, words: str) -> None:
    assert in_words(size) == words
