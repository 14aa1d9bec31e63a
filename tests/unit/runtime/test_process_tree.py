from __future__ import annotations

import os
import subprocess
import sys

import pytest

from airflow_mlpipe.runtime.process_tree import start_identity


def test_a_living_process_keeps_its_identity() -> None:
    identity = start_identity(os.getpid())
    assert identity is not None
    assert identity == start_identity(os.getpid())


def test_two_processes_differ() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert start_identity(other.pid) not in (None, start_identity(os.getpid()))
        other.communicate(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a zombie in /proc")
def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_identity(child.pid) is None
    child.wait()


def test_nobody_has_no_identity() -> None:
    assert start_identity(2**22 + 1) is None
