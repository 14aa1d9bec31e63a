"""The supervisor of one attempt: it starts the step's process, outlives it, and writes how it ended.

In the attempt's directory it keeps

- ``log.txt``: standard output and error of the step in the order they were written, by the step itself;
- ``heartbeat``: ``{"pid", "started_at", "host", "at"}`` of the supervisor, renewed every five seconds;
  ``started_at`` is :func:`~airflow_mlpipe.runtime.process_tree.start_identity`, ``at`` is in seconds
  since the epoch;
- ``result.json``: a :class:`~airflow_mlpipe.records.StepResult`, written last and once.

SIGTERM, SIGINT or SIGHUP ends the step: its whole process tree gets SIGTERM, and after the attempt's grace
period SIGKILL. The result then says "terminated", whatever the step's own exit code is.

What the process is not to show to others it may find in a file, see :mod:`airflow_mlpipe.runtime.private`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.handing import handed_over
from airflow_mlpipe.records import (
    CREDENTIALS_VARIABLE,
    LaunchSpec,
    Private,
    StepResult,
    StepStatus,
    from_json,
    to_json,
)
from airflow_mlpipe.runtime.documents import replace, write_once
from airflow_mlpipe.runtime.memory_limit import MemoryLimit, in_words
from airflow_mlpipe.runtime.private import NOTHING, take_private
from airflow_mlpipe.runtime.process_tree import (
    END_SIGNALS,
    adopt_orphans,
    dying_with_parent,
    signal_descendants,
    start_identity,
)

HEARTBEAT_SECONDS = 5.0
LEFTOVER_GRACE_SECONDS = 1.0  # enough for multiprocessing's resource trackers to clean up and end
LEFTOVER_POLL_SECONDS = 0.02  # nothing announces the end of a process whose parent is not this one
UNKILLABLE_SECONDS = 5.0  # a process in uninterruptible sleep may outlive SIGKILL; do not wait for ever
KILL_AGAIN_SECONDS = 0.2  # a tree that forks while it is signalled needs more than one round
TAIL_LINES = 20
TAIL_LINE_LENGTH = 500
TAIL_BYTES = 256 * 1024

# The interpreter has the package when this folder is on its path; see targets.runtime_bundle.
FALLBACK_FOLDER = Path(__file__).resolve().parents[2] / "fallback"
AZUREML_FOLDER = Path(__file__).resolve().parent / "azureml_compat"


def main(arguments: Sequence[str]) -> int:
    """Supervise the attempt whose spec is named; 0 once its result is written, by whomever, else 2."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m airflow_mlpipe.runtime <spec.json>\n")
        return 2
    spec_path = Path(arguments[0]).absolute()
    try:
        spec = from_json(LaunchSpec, spec_path.read_text("utf8"))
        private = take_private()
    except (OSError, ValueError, DocumentError) as error:
        sys.stderr.write(f"cannot read the launch spec {spec_path}: {error}\n")
        return 2
    supervise(spec, spec_path, private)
    return 0


def supervise(spec: LaunchSpec, spec_path: Path, private: Private, result_name: str = "result.json") -> None:
    """Run the attempt to its end and write its result; nothing happens when it is running or has ended."""
    directory = Path(spec.directory)
    result_path = directory / result_name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # a filesystem without locks: the launching driver's own look is all there is
            pass
        if not result_path.exists():
            result = Supervisor(spec, spec_path, private).run()
            write_once(result_path, to_json(result))


class Supervisor:
    """One attempt in progress. Single-threaded: a thread would make forking unsafe."""

    def __init__(self, spec: LaunchSpec, spec_path: Path, private: Private = NOTHING) -> None:
        self._spec = spec
        self._spec_path = spec_path
        self._private = private
        self._directory = Path(spec.directory)
        self._signals = _Signals()
        self._next_heartbeat = 0.0
        self._kill_at: float | None = None

    def run(self) -> StepResult:
        """Start the step, wait for its end, end what it left running, and say how it ended."""
        adopt_orphans()
        self._beat()
        memory_limit = MemoryLimit()
        started_at = time.time()
        try:
            child = self._start()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return self._result("failed", None, started_at, time.time(), self._why_not_started(error))
        exit_code = self._wait_for(child)
        finished_at = time.time()
        reached = memory_limit.reached()
        self._end_leftovers(child)
        if self._signals.termination_requested:
            return self._result("terminated", exit_code, started_at, finished_at, "terminated on request")
        status: StepStatus = "succeeded" if exit_code == 0 else "failed"
        message = _describe_exit(exit_code, reached)
        return self._result(status, exit_code, started_at, finished_at, message, reached is not None)

    def _start(self) -> subprocess.Popen[bytes]:
        if not self._spec.argv:
            raise ValueError("argv is empty")
        with (
            (self._directory / "log.txt").open("ab") as log,
            handed_over(self._private.credentials) as own,
        ):
            handed = _handed_descriptor() if own is None else own
            return subprocess.Popen(
                self._spec.argv,
                cwd=self._spec.working_directory,
                env=self._environment(handed),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if handed is None else (handed,),
                preexec_fn=dying_with_parent(os.getpid()),  # safe: this process has one thread
            )

    def _environment(self, credentials: int | None) -> dict[str, str]:
        environment = {
            "PYTHONUNBUFFERED": "1",
            **os.environ,
            **self._private.variables,
            **self._spec.environment,
            "MLPIPE_SPEC": str(self._spec_path),
        }
        if credentials is not None:
            environment[CREDENTIALS_VARIABLE] = str(credentials)
        entries = [environment.get("PYTHONPATH")]
        if FALLBACK_FOLDER.is_dir():
            entries.append(str(FALLBACK_FOLDER))
        if self._spec.azureml_compat:
            entries.append(str(AZUREML_FOLDER))
        if entries[1:]:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, entries))
        return environment

    def _why_not_started(self, error: Exception) -> str:
        program, folder = (self._spec.argv or [""])[0], self._spec.working_directory
        if not Path(folder).is_dir():
            return f"the working directory {folder!r} does not exist, so {program!r} was not started"
        if isinstance(error, FileNotFoundError):
            return f"program {program!r} was not found; check its name, its '#!' line and PATH"
        if isinstance(error, PermissionError):
            return f"program {program!r} is not executable; check its permissions"
        return f"program {program!r} cannot be started: {error}"

    def _wait_for(self, child: subprocess.Popen[bytes]) -> int:
        while (exit_code := _reap(child)) is None:
            if self._signals.termination_requested and self._kill_at is None:
                signal_descendants(signal.SIGTERM, child.pid)
                self._kill_at = time.monotonic() + self._spec.termination_grace_seconds
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                signal_descendants(signal.SIGKILL, child.pid)
                self._wait(KILL_AGAIN_SECONDS)
            else:
                self._wait(HEARTBEAT_SECONDS)
        return exit_code

    def _end_leftovers(self, child: subprocess.Popen[bytes]) -> None:
        """End what still runs after the step: SIGTERM (once), a moment to clean up, SIGKILL."""
        already_told = self._kill_at is not None
        kill_at = self._kill_at or time.monotonic() + LEFTOVER_GRACE_SECONDS
        give_up_at = max(kill_at, time.monotonic()) + UNKILLABLE_SECONDS
        number = 0 if already_told else signal.SIGTERM
        while signal_descendants(number, child.pid) and time.monotonic() < give_up_at:
            self._wait(LEFTOVER_POLL_SECONDS)
            _reap(child)
            number = signal.SIGKILL if time.monotonic() >= kill_at else 0

    def _wait(self, seconds: float) -> None:
        """Return at the next signal, heartbeat, kill time or after *seconds*, whichever comes first."""
        ends = [seconds, self._next_heartbeat - time.monotonic()]
        if self._kill_at is not None and self._kill_at > time.monotonic():
            ends.append(self._kill_at - time.monotonic())
        self._signals.wait(max(0.0, min(ends)))
        if time.monotonic() >= self._next_heartbeat:
            self._beat()

    def _beat(self) -> None:
        beat = {
            "pid": os.getpid(),
            "started_at": start_identity(os.getpid()),
            "host": os.uname().nodename,
            "at": time.time(),
        }
        with contextlib.suppress(OSError):  # a full disk must not end a step that does not write
            replace(self._directory / "heartbeat", json.dumps(beat, sort_keys=True) + "\n")
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def _result(
        self,
        status: StepStatus,
        exit_code: int | None,
        started_at: float,
        finished_at: float,
        message: str,
        out_of_memory: bool = False,
    ) -> StepResult:
        return StepResult(
            self._spec.attempt,
            status,
            exit_code,
            started_at,
            finished_at,
            message,
            tail(self._directory / "log.txt"),
            out_of_memory,
        )


class _Signals:
    """The signals that the supervisor waits for. Whatever else arrives keeps its default."""

    def __init__(self) -> None:
        self.termination_requested = False
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in END_SIGNALS:
            signal.signal(number, self._request_termination)

    def wait(self, seconds: float) -> None:
        """Return when a signal has arrived since the last call, or after *seconds*."""
        if select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, 4096)

    def _request_termination(self, number: int, frame: FrameType | None) -> None:
        self.termination_requested = True


def _handed_descriptor() -> int | None:
    """What a worker on this machine handed to the step, and not to this process: a file of credentials."""
    handed = os.environ.get(CREDENTIALS_VARIABLE)
    return None if handed is None else int(handed)


def tail(log: Path) -> list[str]:
    """The last 20 lines of *log*, each cut at 500 characters; a rewritten line as it was left."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode("utf8", errors="replace")
    except FileNotFoundError:
        return []
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")]
    return [line[:TAIL_LINE_LENGTH] for line in lines[-TAIL_LINES:] if text.strip()]


def _reap(child: subprocess.Popen[bytes]) -> int | None:
    """Collect every process that ended, adopted ones too; return the child's exit code once it is known."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child.pid:
                child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode


def _describe_exit(exit_code: int, memory_limit: int | None) -> str:
    """How the step failed, "" when it did not; *memory_limit* is in bytes if a process was killed for it."""
    if exit_code == 0:
        return ""
    if exit_code > 0:
        what, or_else = f"exited with code {exit_code}", ""
    else:
        what = f"killed by signal {-exit_code} ({_signal_name(-exit_code)})"
        or_else = ", possibly out of memory" if -exit_code == signal.SIGKILL else ""
    if memory_limit is None:
        return f"{what}{or_else}"
    killed = "" if exit_code == -signal.SIGKILL else "a process was killed, "
    return f"{what}: {killed}out of memory, the limit is {in_words(memory_limit)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return "unnamed"
