"""The local target: a step is a process on the worker's own machine.

The step's process is a child of a supervisor (:mod:`airflow_mlpipe.runtime`) with a session of its own, so
neither ends with the worker. The supervisor is Python's standard library only, started by the worker's
interpreter from the runtime bundle; the step's own interpreter may be any.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.handing import handed_over
from airflow_mlpipe.records import CREDENTIALS_VARIABLE, LaunchSpec, Private, StepResult
from airflow_mlpipe.targets.contract import (
    NOTHING_PRIVATE,
    AttemptDirectory,
    AttemptState,
    Container,
    terminated_after_loss,
)
from airflow_mlpipe.targets.heartbeat import Heartbeat, heartbeat
from airflow_mlpipe.targets.log_file import (
    FASTEST_POLL_SECONDS,
    SLOWEST_POLL_SECONDS,
    followed,
    last_lines,
    last_words,
)

FIRST_SIGN_SECONDS = 30.0
KILL_SECONDS = 2.0  # beyond the attempt's own grace period

# Airflow's settings hold credentials of its own, and steer any Airflow that a script may import.
WITHHELD_PREFIXES = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW", "__AIRFLOW")


class LocalDriver:
    """Runs attempts as processes of this machine; *runtime* is the folder of the runtime bundle.

    When a supervisor is killed, its script is killed with it and the attempt is lost; what the script had
    started itself ends when the attempt is terminated or launched again. An attempt on another host
    that shares the folder can be watched, but not terminated. *clock* gives
    seconds since the epoch.
    """

    def __init__(self, runtime: Path, clock: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._clock = clock
        self._supervisors: dict[AttemptDirectory, subprocess.Popen[bytes]] = {}

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; a lost attempt is started again.

        The step inherits the worker's environment without Airflow's settings, then the private variables,
        then the spec's.
        """
        if self.status(attempt) in ("running", "finished"):
            return
        if heartbeat(attempt) is not None:
            _kill(_processes_of(attempt))
        attempt.path.mkdir(parents=True, exist_ok=True)
        attempt.write_spec(spec)
        with handed_over(private.credentials) as descriptor:
            supervisor = self._start_supervisor(attempt, private.variables, descriptor)
        self._supervisors[attempt] = supervisor
        self._await_first_sign(attempt, supervisor)

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        self._reap(attempt)
        if attempt.result_path.exists():
            return "finished"
        if not attempt.spec_path.exists():
            return "unknown"
        if self._is_alive(heartbeat(attempt)):
            return "running"
        # It may have ended between the first look and the last.
        return "finished" if attempt.result_path.exists() else "lost"

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; the lines are those of LogLines."""
        with _waiting_for(heartbeat(attempt)) as wait:
            yield from followed(attempt.log_path, offset, lambda: self.status(attempt) == "running", wait)

    def terminate(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        Returns within the attempt's grace period and a few seconds. Raises InfrastructureError when the
        attempt runs on another host.
        """
        state = self.status(attempt)
        if state in ("unknown", "finished"):
            return
        spec = attempt.read_spec()
        beat = heartbeat(attempt)
        if state == "running" and beat is not None:
            if beat.host != os.uname().nodename:
                raise InfrastructureError(
                    f"attempt {spec.attempt} runs on host {beat.host!r} and cannot be terminated from "
                    f"{os.uname().nodename!r}; terminate it there, or end process {beat.pid} on that host"
                )
            self._ask_to_end(attempt, beat.pid, spec.termination_grace_seconds + KILL_SECONDS)
        if not attempt.result_path.exists():
            _kill([*_tree_of(beat), *_processes_of(attempt)])
            attempt.write_result(terminated_after_loss(attempt, self._clock()))

    def result(self, attempt: AttemptDirectory) -> StepResult:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        state = self.status(attempt)
        if state != "finished":
            raise InfrastructureError(
                f"the attempt in {attempt.path} has no result, it is {state}"
                + (": its supervisor was killed or the machine restarted" if state == "lost" else "")
                + last_words(last_lines(attempt.log_path) if state == "lost" else [])
            )
        return attempt.read_result()

    def collect(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; the records are here."""

    def discard(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; nothing is kept."""

    def _start_supervisor(
        self, attempt: AttemptDirectory, secrets: Mapping[str, str], descriptor: int | None
    ) -> subprocess.Popen[bytes]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(WITHHELD_PREFIXES)
        }
        inherited.pop(CREDENTIALS_VARIABLE, None)  # this worker may be a step itself
        handed = {} if descriptor is None else {CREDENTIALS_VARIABLE: str(descriptor)}
        interpreter = [sys.executable, "-X", "utf8", "-E", "-s", "-S"]
        try:
            with attempt.log_path.open("ab") as log:
                return subprocess.Popen(
                    [*interpreter, "-m", "airflow_mlpipe.runtime", str(attempt.spec_path)],
                    cwd=self._runtime,
                    env={**inherited, **secrets, **handed},
                    pass_fds=() if descriptor is None else (descriptor,),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            raise TargetError(f"the supervisor of {attempt.path} cannot be started: {error}") from error

    def _await_first_sign(self, attempt: AttemptDirectory, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + FIRST_SIGN_SECONDS
        while True:
            exit_code = supervisor.poll()
            # A supervisor that found another one at work ends at once, and the other one's signs count.
            if self.status(attempt) in ("running", "finished"):
                return
            if exit_code:
                raise TargetError(
                    f"the supervisor of {attempt.path} ended with code {exit_code}"
                    + last_words(last_lines(attempt.log_path))
                )
            if time.monotonic() >= deadline:
                _kill([psutil.Process(supervisor.pid)] if exit_code is None else [])
                raise InfrastructureError(
                    f"the supervisor of {attempt.path} gave no sign of life within {FIRST_SIGN_SECONDS:g} s"
                )
            time.sleep(FASTEST_POLL_SECONDS)

    def _ask_to_end(self, attempt: AttemptDirectory, supervisor: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        with _waiting_for(heartbeat(attempt)) as wait:
            while self.status(attempt) == "running" and time.monotonic() < deadline:
                wait(SLOWEST_POLL_SECONDS)

    def _is_alive(self, beat: Heartbeat | None) -> bool:
        if beat is None:
            return False
        if beat.host == os.uname().nodename:
            return beat.started_at is not None and _start_identity(beat.pid) == beat.started_at
        return beat.is_fresh(self._clock())

    def _reap(self, attempt: AttemptDirectory) -> None:
        supervisor = self._supervisors.get(attempt)
        if supervisor is not None and supervisor.poll() is not None:
            self._supervisors.pop(attempt, None)  # a signal handler may have been faster


def _start_identity(pid: int) -> str | None:
    """What the supervisor calls ``started_at``, for any process; None when *pid* is not alive.

    The runtime has its own copy of this rule, because it must run where this package is not installed.
    """
    if sys.platform != "linux":
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return answer.stdout.strip() or None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].decode("ascii").split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


@contextlib.contextmanager
def _waiting_for(beat: Heartbeat | None) -> Iterator[Callable[[float], object]]:
    """A function that waits some seconds, or less when the supervisor ends meanwhile."""
    descriptor = None
    if beat is not None and beat.host == os.uname().nodename and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(beat.pid)
    if descriptor is None:
        yield time.sleep
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        yield lambda seconds: poll.poll(1000 * seconds)
    finally:
        os.close(descriptor)


def _processes_of(attempt: AttemptDirectory) -> list[psutil.Process]:
    """Every process that the attempt started, known by its environment, whoever its parent is now."""
    spec_path = os.path.realpath(attempt.spec_path)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marked = process.environ().get("MLPIPE_SPEC")
            if marked and os.path.realpath(marked) == spec_path and process.pid != os.getpid():
                found.append(process)
    return found


def _tree_of(beat: Heartbeat | None) -> list[psutil.Process]:
    """The supervisor, when it still lives on this host, and everything below it."""
    if beat is None or beat.host != os.uname().nodename or _start_identity(beat.pid) != beat.started_at:
        return []
    with contextlib.suppress(psutil.Error):
        supervisor = psutil.Process(beat.pid)
        return [supervisor, *supervisor.children(recursive=True)]
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=KILL_SECONDS)
