"""The remote target: a step is a process of a machine that is reached by SSH.

It is detached from the connection, and lives without it and without the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.records import LaunchSpec, Private, StepResult
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, AttemptState, Container
from airflow_mlpipe.targets.log_lines import LogLines
from airflow_mlpipe.targets.parcel import Parcel, boot_command, carrier_failure
from airflow_mlpipe.targets.remote.machine import ANSWER_SECONDS, Machine

if TYPE_CHECKING:
    import paramiko

LEAVING_SECONDS = 30.0  # beyond the step's grace period, in which its carrier brings away what there is
LAST_LINES = 20
LAST_LINE_LENGTH = 500

_PROGRAM = "attempts"


class RemoteDriver:
    """Runs attempts on the machine of *target*.

    *connect* opens an SSH connection to it, *runtime* is the folder of the runtime bundle, and *records* are
    where attempts leave what they have to say. *machine* is one that *connect* leads to, if it was asked
    already. A worker may come and go: an attempt is found again by the name of its folder. *clock* gives
    seconds since the epoch.
    """

    def __init__(
        self,
        connect: Callable[[], paramiko.SSHClient],
        target: RemoteTarget,
        runtime: Path,
        records: AttemptRecords,
        machine: Machine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._target = target
        self._runtime = runtime
        self._records = records
        self._machine = machine or machine_of(target, connect)
        self._clock = clock

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; a lost attempt is started again.

        The step inherits the environment that the machine gives to a command by SSH.
        """
        if self._is_finished(attempt):
            return
        look = self._look(attempt, self._machine)
        if look.state == "running":
            return
        attempt.path.mkdir(parents=True, exist_ok=True)
        attempt.write_spec(spec)
        self._records.send(attempt)
        parcel = Parcel.of(spec, private, self._runtime).contents
        request = {
            "verb": "start",
            "folder": look.folder,
            "files": {name: len(content) for name, content in parcel.items()},
            "command": boot_command(self._target.python, f"{look.folder}/parcel", look.folder),
        }
        self._machine.ask(_PROGRAM, request, b"".join(parcel.values()))

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        if self._is_finished(attempt):
            return "finished"
        return self._state(attempt, self._look(attempt, self._machine))

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; the lines are those of LogLines."""
        lines = LogLines()
        for chunk in self._machine.follow(_PROGRAM, self._folder(attempt), offset):
            yield from lines.feed(chunk)
        yield from lines.close()

    def terminate(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        Returns within the attempt's grace period and half a minute, when the machine is reached. The attempt
        is discarded as well, by the machine itself, even if this process is killed meanwhile.
        """
        if self._is_finished(attempt):
            return
        # A connection of its own: a signal may have interrupted what uses the other one, locks held.
        machine = machine_of(self._target, self._connect)
        try:
            if self._state(attempt, self._look(attempt, machine)) in ("unknown", "finished"):
                return
            seconds = self._spec(attempt).termination_grace_seconds + LEAVING_SECONDS
            request = {"verb": "end", "folder": self._folder(attempt), "seconds": seconds}
            look = _Look(**machine.ask(_PROGRAM, request, seconds=seconds + ANSWER_SECONDS))
        finally:
            machine.close()
        if not self._is_finished(attempt):
            attempt.write_result(self._terminated(attempt, look))

    def result(self, attempt: AttemptDirectory) -> StepResult:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        if not self._is_finished(attempt):
            self._raise_for(attempt, self._look(attempt, self._machine))
        self.collect(attempt)
        return attempt.read_result()

    def _raise_for(self, attempt: AttemptDirectory, look: _Look) -> None:
        """Say why an attempt has no result; nothing when it has come meanwhile."""
        state = self._state(attempt, look)
        if state == "finished":
            return
        if state == "lost" and (failure := carrier_failure(look.last_lines)) is not None:
            raise failure
        why = ": its process was killed or the machine restarted" if state == "lost" else ""
        raise InfrastructureError(
            f"attempt {attempt.attempt} has no result, it is {state}{why}{_quoted(look.last_lines)}"
        )

    def collect(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        self._records.fetch(attempt)

    def discard(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`: its folder on the machine.

        Raises InfrastructureError when that stays, because the attempt runs.
        """
        request = {"verb": "discard", "folder": self._folder(attempt)}
        look = _Look(**self._machine.ask(_PROGRAM, request))
        if look.state != "unknown":
            raise InfrastructureError(
                f"the folder {look.folder} stays on the machine of connection {self._target.ssh_conn_id!r}, "
                f"because the attempt in it is {look.state}; remove it when its processes have ended"
            )

    def root(self, attempt: AttemptDirectory) -> PurePosixPath:
        """The absolute path of the attempt's folder on the machine."""
        return PurePosixPath(self._look(attempt, self._machine).folder)

    def _folder(self, attempt: AttemptDirectory) -> str:
        return f"{self._target.folder}/{attempt.attempt}"

    def _look(self, attempt: AttemptDirectory, machine: Machine) -> _Look:
        return _Look(**machine.ask(_PROGRAM, {"verb": "look", "folder": self._folder(attempt)}))

    def _state(self, attempt: AttemptDirectory, look: _Look) -> AttemptState:
        if look.state == "running":
            return "running"
        if self._is_finished(attempt):
            return "finished"
        return "lost" if look.state == "over" or self._was_launched(attempt) else "unknown"

    def _is_finished(self, attempt: AttemptDirectory) -> bool:
        return attempt.result_path.exists() or self._records.has_result(attempt)

    def _was_launched(self, attempt: AttemptDirectory) -> bool:
        return attempt.spec_path.exists() or self._records.has_spec(attempt)

    def _spec(self, attempt: AttemptDirectory) -> LaunchSpec:
        if not attempt.spec_path.exists():
            self.collect(attempt)
        return attempt.read_spec()

    def _terminated(self, attempt: AttemptDirectory, look: _Look) -> StepResult:
        now = self._clock()
        return StepResult(
            attempt=attempt.attempt,
            status="terminated",
            exit_code=None,
            started_at=now,
            finished_at=now,
            message="terminated on request, without a word of its own",
            last_lines=_last(look.last_lines),
        )


class _Look(NamedTuple):
    """The answer of the program ``attempts``."""

    folder: str
    state: str
    last_lines: list[str]


def machine_of(target: RemoteTarget, connect: Callable[[], Any], *, patience: float | None = None) -> Machine:
    """The machine of *target*, to which *connect* opens an SSH connection.

    One that is lost is made again for *patience* seconds; default are those of the target.
    """
    return Machine(
        connect,
        name=f"the machine of connection {target.ssh_conn_id!r}",
        python=target.python,
        patience=target.patience_seconds if patience is None else patience,
    )


def _last(lines: list[str]) -> list[str]:
    return [line[:LAST_LINE_LENGTH] for line in lines[-LAST_LINES:]]


def _quoted(lines: list[str]) -> str:
    return "; its last words:\n" + "\n".join(_last(lines)) if lines else ""
