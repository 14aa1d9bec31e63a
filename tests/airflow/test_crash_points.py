"""A step whose process is killed at each of the moments at which it changes what others see."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.manifest import parse_manifest
from airflow_mlpipe.store.verification import verify
from tools.lone_step import HandedOn, LoneFunction, LoneStep

pytestmark = pytest.mark.airflow

# Lease, recipe, two records, snapshot, spec, process, announcement, manifest, and the release at the least.
FEWEST_MOMENTS = 10


@pytest.mark.parametrize(
    ("kind", "heir"),
    [
        (LoneStep, "the next try"),
        (LoneStep, "another run"),
        # What a function returned is taken over in tests/airflow/test_functions_environments.py.
        pytest.param(LoneFunction, "the next try", marks=pytest.mark.slow),
        pytest.param(LoneFunction, "another run", marks=pytest.mark.slow),
    ],
)
def test_whoever_comes_after_a_worker_that_was_killed_at_any_moment_makes_it_right(
    tmp_path: Path, kind: type[LoneStep], heir: str
) -> None:
    for moment in count(1):
        step = kind(tmp_path / str(moment))
        if not run_and_die(step, moment):
            break
        had_finished = bool(list(step.store.rglob("result.json")))
        if heir == "the next try":
            done = step.run(try_number=2)
        else:
            let_leases_lapse(step)
            done = step.run("another run")
        check(step, done)
        assert step.executions == 1 if had_finished else 1 <= step.executions <= 2, moment
    check(step, step.run("a later run"))
    assert step.executions == 1
    assert moment > FEWEST_MOMENTS


def check(step: LoneStep, done: HandedOn) -> None:
    assert done.reference.path().read_text() == "made"
    [manifest] = step.store.rglob("manifest.json")
    store = Datastore.open(str(step.store))
    assert verify(store, parse_manifest(manifest.read_bytes(), manifest.parent.name), "digest") == ()
    # Who finds sealed outputs needs no lease, and leaves that of the dead alone.
    assert done.decision["action"] == "reused" or not list(step.store.rglob("lease.json"))
    deadline = time.monotonic() + 60
    while step.processes():
        assert time.monotonic() < deadline, step.processes()
        time.sleep(0.05)


def let_leases_lapse(step: LoneStep) -> None:
    for lease in step.store.rglob("lease.json"):
        os.utime(lease, (0, 0))


def run_and_die(step: LoneStep, moment: int) -> bool:
    """Run *step* in a process that is killed just before its change number *moment*; whether it was."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.addaudithook(killer(step, moment))
            step.run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def killer(step: LoneStep, moment: int) -> Callable[[str, Any], None]:
    store = str(step.store)
    changes = 0

    def hook(event: str, arguments: Any) -> None:
        nonlocal changes
        if changes_what_others_see(event, arguments, store):
            changes += 1
            if changes == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def changes_what_others_see(event: str, arguments: Any, store: str) -> bool:
    """Whether it starts a process or makes, replaces or removes a file of the store by its final name."""
    if event == "subprocess.Popen":
        return True
    place = {"os.link": 1, "os.rename": 1, "os.remove": 0}.get(event)
    if place is None:
        return False
    path = str(arguments[place])
    return path.startswith(f"{store}/") and not path.endswith(".tmp")
