"""What a target promises: a few verbs that turn a launch spec into a result.

A driver keeps nothing that matters in memory. Everything is found again from the attempt's directory or from
its id, so that a worker which died is replaced by another one that goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from airflow_mlpipe.errors import DocumentError, InfrastructureError
from airflow_mlpipe.records import (
    EarlierRuns,
    LaunchSpec,
    Private,
    ReturnedValues,
    StepResult,
    from_json,
    to_json,
)
from airflow_mlpipe.store.atomic import arriving, temporary_beside, write_through
from airflow_mlpipe.targets.log_file import last_lines

AttemptState = Literal["unknown", "running", "finished", "lost"]

NOTHING_PRIVATE = Private()


@dataclass(frozen=True)
class AttemptDirectory:
    """Where the attempt with the id *attempt* keeps its records, as the worker sees it.

    A target that runs steps elsewhere may show them the same folder under another path, or keep the records
    there and bring them here with ``collect``; that path is ``LaunchSpec.directory``.
    """

    path: Path
    attempt: str

    @property
    def spec_path(self) -> Path:
        return self.path / "spec.json"

    @property
    def heartbeat_path(self) -> Path:
        return self.path / "heartbeat"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def result_path(self) -> Path:
        return self.path / "result.json"

    @property
    def returned_path(self) -> Path:
        return self.path / "returned.json"

    @property
    def earlier_runs_path(self) -> Path:
        return self.path / "children.json"

    def read_spec(self) -> LaunchSpec:
        """What was launched. Raises DocumentError when it cannot be read."""
        return from_json(LaunchSpec, _read(self.spec_path))

    def read_result(self) -> StepResult:
        """How the attempt ended. Raises DocumentError when it cannot be read."""
        return from_json(StepResult, _read(self.result_path))

    def read_returned(self) -> ReturnedValues:
        """What the function of the attempt returned. Raises DocumentError when it cannot be read."""
        return from_json(ReturnedValues, _read(self.returned_path))

    def age(self) -> float:
        """The seconds since its launch, 0 when it has not been launched."""
        try:
            return max(0.0, time.time() - self.spec_path.stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def write_spec(self, spec: LaunchSpec) -> None:
        """Write the spec atomically, for the owner's eyes only. Raises InfrastructureError."""
        with _writing(self.spec_path), arriving(self.spec_path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(to_json(spec), "utf8")

    def write_earlier_runs(self, runs: EarlierRuns) -> None:
        """Write what the script may ask of earlier steps, atomically. Raises InfrastructureError."""
        with _writing(self.earlier_runs_path), arriving(self.earlier_runs_path) as temporary:
            temporary.write_text(to_json(runs), "utf8")

    def write_result(self, result: StepResult) -> None:
        """Write the result atomically and durably, unless there is one. Raises InfrastructureError."""
        with _writing(self.result_path), temporary_beside(self.result_path) as temporary:
            write_through(temporary, to_json(result).encode())
            try:
                os.link(temporary, self.result_path)  # unlike a rename, a link never replaces
            except FileExistsError:
                pass
            except OSError:  # a filesystem without hard links
                if not self.result_path.exists():
                    temporary.rename(self.result_path)


def terminated_after_loss(attempt: AttemptDirectory, finished_at: float) -> StepResult:
    """The result of an attempt that was ended when its supervisor could not write one any more.

    *finished_at* is in seconds since the epoch.
    """
    return StepResult(
        attempt=attempt.attempt,
        status="terminated",
        exit_code=None,
        started_at=attempt.spec_path.stat().st_mtime,
        finished_at=finished_at,
        message="terminated on request, after its supervisor was lost",
        last_lines=last_lines(attempt.log_path),
    )


@dataclass(frozen=True)
class Mount:
    """A path of the worker's disk that the step's process is to find under the same path."""

    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Container:
    """What a target with containers starts: the reference of an image that is there or can be pulled.

    ``mounts`` is empty when the container does not share the worker's disk.
    """

    image: str
    mounts: tuple[Mount, ...] = ()


class TargetDriver(Protocol):
    """Runs attempts on one kind of machine. Every verb is idempotent by the attempt's id."""

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        """Start the attempt and return once it is known to have started, without waiting for its end.

        Does nothing when the attempt is running or finished, whoever launched it. *private* stands in no file
        with a name on this machine, in no argument and in nothing that the target shows to others. A target
        with containers needs a *container*. Raises TargetError when the target
        refuses the attempt, InfrastructureError when it gives no sign of life.
        """

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        """Where the attempt stands.

        ``unknown``: never launched. ``running``: its supervisor is alive. ``finished``: its result is
        written and stays as it is. ``lost``: launched, without a result, and nobody is left to write one.
        """

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        """The attempt's lines from byte *offset* of its log, as they come, until it no longer runs."""

    def terminate(self, attempt: AttemptDirectory) -> None:
        """End the attempt and everything it started; twice is fine.

        Afterwards the attempt is finished. It is ``terminated`` unless it ended by itself before; one
        that was never launched stays unknown.
        """

    def result(self, attempt: AttemptDirectory) -> StepResult:
        """How a finished attempt ended.

        Raises InfrastructureError when it is lost or still running, DocumentError when its result
        cannot be read. A target that knows better than the exit code why the attempt failed raises the kind
        of StepError that it is: UserError when a memory limit was reached, TargetError when the image
        cannot be had, InfrastructureError when its machine was taken away.
        """

    def collect(self, attempt: AttemptDirectory) -> None:
        """Bring the records of an attempt to its directory here, as far as it has written them.

        Nothing to do where they are written there at once. Raises StoreError or InfrastructureError.
        """

    def discard(self, attempt: AttemptDirectory) -> None:
        """Take away what the target keeps of an attempt that is over, besides its records; twice is fine.

        May raise InfrastructureError that says what stays, such as a pod that still runs.
        """


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"cannot write {path}: {error}; check that its disk is mounted, has room, and may be written"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error}") from error
