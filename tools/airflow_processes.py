"""The processes of one Airflow: its components, and whatever they left on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

COMPONENT_LOGS = "component_logs"  # the folder of the components' logs in an instance's home
KILL_SECONDS = 10.0


class Component:
    """One long-running ``airflow`` command with a log file of its own, in a session of its own.

    A session of its own keeps the terminal's Ctrl-C from it: who started it decides when and in which order
    things end.
    """

    def __init__(self, name: str, environment: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self.started_at = 0.0  # seconds since the epoch
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._may_end = False

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError when it was never started."""
        return self._started().pid

    def start(self) -> None:
        """Start it; its output is appended to the log file."""
        self.started_at = time.time()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                airflow_command(self.name),
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._may_end = False

    def send(self, number: int) -> None:
        """Send a signal to this process alone, not to its children; its end is expected from now on."""
        self._may_end = True
        if self._started().poll() is None:
            self._started().send_signal(number)
        if number == signal.SIGKILL:
            self._started().wait(timeout=KILL_SECONDS)

    def stop(self, grace: float) -> None:
        """End it and its children: politely at first, by SIGKILL after *grace* seconds."""
        self._may_end = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        family = [psutil.Process(process.pid)]
        with contextlib.suppress(psutil.Error):
            family += family[0].children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
        _kill(family)
        process.wait(timeout=KILL_SECONDS)

    def death(self) -> str | None:
        """None while it lives or was made to end; else a sentence with the last lines of its log."""
        if self._process is None or self._may_end or self._process.poll() is None:
            return None
        return (
            f"airflow {self.name} ended by itself with exit code {self._process.returncode}. "
            f"Its log {self.log_path} ends with:\n{last_lines(self.log_path)}"
        )

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"airflow {self.name} was never started; call start() first")
        return self._process


def airflow_command(*arguments: str) -> list[str]:
    """The command line of ``airflow`` in the environment of this Python."""
    # Not "python -m airflow": that would put the working directory on sys.path of every component.
    return [str(Path(sys.executable).with_name("airflow")), *arguments]


def last_lines(path: Path, count: int = 25) -> str:
    """The last *count* lines of a log file, indented."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (nothing)"


def end_processes_of(home: Path, grace: float) -> int:
    """End every process of the Airflow in *home*, see :func:`processes_of`.

    They get *grace* seconds to end by themselves, then SIGKILL. Returns how many had to be killed.
    """
    _wait(lambda: not _alive(processes_of(home)), grace)
    killed = 0
    # A process may have forked after the list was made: done is when a fresh list is empty.
    while members := _alive(processes_of(home)):
        _kill(members)
        killed += len(members)
    return killed


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes of the Airflow in *home*, whoever their parents are now, and the descendants of these.

    This process and its ancestors are never among them. They are known by their ``AIRFLOW_HOME``, and by the
    sessions of whatever writes to the component logs: an executor's worker renames itself, which overwrites
    the environment that others can see.
    """
    real_home = os.path.realpath(home)
    processes = list(psutil.process_iter())
    sessions = {_session(process) for process in processes if _logs_to(process, real_home)} - {None}
    found: set[psutil.Process] = set()
    for process in processes:
        if _session(process) in sessions or _names(process, real_home):
            found.add(process)
            with contextlib.suppress(psutil.Error):
                found.update(process.children(recursive=True))
    myself = psutil.Process()
    return list(found - {myself, *myself.parents()})


def _session(process: psutil.Process) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(process.pid)
    return None


def _names(process: psutil.Process, real_home: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        named = process.environ().get("AIRFLOW_HOME")
        return named is not None and os.path.realpath(named) == real_home
    return False


def _logs_to(process: psutil.Process, real_home: str) -> bool:
    with contextlib.suppress(OSError):
        output = Path(f"/proc/{process.pid}/fd/1").readlink()
        return output.parent == Path(real_home) / COMPONENT_LOGS
    return False


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    alive = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=KILL_SECONDS)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
