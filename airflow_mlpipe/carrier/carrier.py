"""One attempt, from its parcel to its result."""

from __future__ import annotations

import contextlib
import gzip
import time
import traceback
from pathlib import Path
from typing import TypeVar

from airflow_mlpipe.access import resolve_with
from airflow_mlpipe.carrier.bringing import InputFetcher, fetch_code, store_at
from airflow_mlpipe.carrier.failures import EXIT_CODES, classed, told
from airflow_mlpipe.carrier.leaving import Leaver
from airflow_mlpipe.carrier.log import AttemptLog
from airflow_mlpipe.carrier.signals import Signals, Terminated
from airflow_mlpipe.carrier.supervision import Supervision
from airflow_mlpipe.errors import DocumentError, InfrastructureError, MLPipeError, StoreError, TargetError
from airflow_mlpipe.records import (
    Carriage,
    LaunchSpec,
    Private,
    StepResult,
    StepStatus,
    from_json,
    to_json,
)
from airflow_mlpipe.runtime.credentials import access_to, narrowed
from airflow_mlpipe.runtime.documents import replace

ENDED = "ended.json"
"""What the supervisor says of the step's end; the result, once all the rest is left as well."""

RESULT = "result.json"
EARLIER_RUNS = "children.json"

FASTEST_POLL_SECONDS, SLOWEST_POLL_SECONDS = 0.01, 0.25

RecordT = TypeVar("RecordT")


def main(parcel: Path, root: Path) -> int:
    """Run the attempt whose parcel lies in the folder *parcel*, below *root*: 0 once it has a result.

    Else one of :data:`~airflow_mlpipe.carrier.failures.EXIT_CODES`. To be called before there are threads.
    """
    signals = Signals()
    log = AttemptLog(root / "log.txt")
    try:
        supervision = Supervision()
        spec = _unpacked(LaunchSpec, parcel / "spec.json.gz")
        private = _unpacked(Private, parcel / "private.json.gz")
        log = AttemptLog(Path(spec.directory, "log.txt"))
        Carrier(spec, private, root, log, signals, supervision).run()
    except Exception as error:
        if not isinstance(error, (MLPipeError, OSError)):
            traceback.print_exc()
        failure = classed(error)
        log.say(told(failure))
        return EXIT_CODES[type(failure)]
    return 0


class Carrier:
    """The attempt of *spec*, which lives below *root*."""

    def __init__(
        self,
        spec: LaunchSpec,
        private: Private,
        root: Path,
        log: AttemptLog,
        signals: Signals,
        supervision: Supervision,
    ) -> None:
        self._spec = spec
        self._private = private
        self._log = log
        self._signals = signals
        self._supervision = supervision
        self._directory = Path(spec.directory)
        self._began_at = time.time()
        if spec.carriage is None:
            raise DocumentError(
                f"attempt {spec.attempt} has no carriage; launch it on a target that needs one"
            )
        resolve_with(lambda url: access_to(url, private.credentials))
        self._store = store_at(spec.carriage.rpartition("/")[0])
        self._leaver = Leaver(spec, self._store, log.say)
        self._inputs = InputFetcher(root / "inputs", log.say)

    def run(self) -> None:
        """Run the attempt to its end and leave its result; nothing happens when there is one.

        Raises a StepError when the machine or the datastore keeps it from that, and when the step left what
        cannot be kept; the result says so as well if another try would not help.
        """
        if self._store.exists(RESULT):
            return
        ended: StepResult | None = None
        try:
            with self._signals.interrupting():
                self._leaver.clear()
                self._bring()
            ended = self._supervised()
            with self._signals.interrupting():
                self._leave(ended)
            result = ended
        except Terminated:
            result = self._result("terminated", ended, "terminated on request")
        except Exception as error:
            failure = classed(error)
            if not isinstance(failure, InfrastructureError):
                self._put(self._result("failed", ended, str(failure)))
            raise failure from error
        finally:
            self._inputs.unlink()
        self._put(result)

    def _bring(self) -> None:
        """Put code, inputs, outputs and records where the step expects them."""
        spec, code = self._spec, Path(self._spec.working_directory)
        carriage = self._read_carriage()
        fetch_code(carriage, code)
        (code / "outputs").mkdir(exist_ok=True)
        self._inputs.fetch(carriage)
        (self._directory / "outputs").mkdir(parents=True, exist_ok=True)
        for output in spec.outputs.values():
            Path(output.path if output.create else Path(output.path).parent).mkdir(
                parents=True, exist_ok=True
            )
        if (earlier_runs := self._store.read(EARLIER_RUNS)) is not None:
            replace(self._directory / EARLIER_RUNS, earlier_runs.decode())

    def _read_carriage(self) -> Carriage:
        content = self._store.read("carriage.json")
        if content is not None:
            return from_json(Carriage, content)
        if self._store.local_path("carriage.json") is None:
            raise StoreError(f"{self._spec.carriage} is missing; somebody has deleted the attempt")
        raise TargetError(
            f"{self._spec.carriage} is not there: mount the disk of the datastore where the step runs, under "
            "the same path, or keep the datastore on a server"
        )

    def _supervised(self) -> StepResult:
        """Let a supervisor run the step, and show what that prints; how the step ended."""
        replace(self._directory / "spec.json", to_json(self._spec))
        ended_path = self._directory / ENDED
        self._log.show()
        self._supervision.begin(self._spec, self._private_of_step(), ENDED)
        with self._signals.handed_to(self._supervision):
            self._follow()
        if ended_path.exists():
            return from_json(StepResult, ended_path.read_bytes())
        if self._signals.termination_requested:
            raise Terminated
        raise InfrastructureError(
            f"the supervisor of the step ended with code {self._supervision.returncode} before the step did"
        )

    def _follow(self) -> None:
        """Show the log as it grows, until the supervisor has ended."""
        interval = FASTEST_POLL_SECONDS
        while not self._supervision.wait(interval):
            interval = FASTEST_POLL_SECONDS if self._log.show() else min(1.5 * interval, SLOWEST_POLL_SECONDS)
        self._log.show()

    def _private_of_step(self) -> Private:
        """What the step is given: its variables, and credentials for what it opens by itself."""
        urls = (path for item in self._spec.inputs.values() for path in item.paths if "://" in path)
        return Private(self._private.variables, narrowed(self._private.credentials, urls))

    def _leave(self, ended: StepResult) -> None:
        if ended.status == "succeeded":
            self._leaver.leave_everything()
        else:
            self._leaver.leave_log()

    def _result(self, status: StepStatus, ended: StepResult | None, message: str) -> StepResult:
        """The result of an attempt that was kept from its end; *ended* is the step's own, if it had come."""
        lines = [] if ended is None else ended.last_lines
        exit_code = None if ended is None else ended.exit_code
        began_at = self._began_at if ended is None else ended.started_at
        return StepResult(self._spec.attempt, status, exit_code, began_at, time.time(), message, lines)

    def _put(self, result: StepResult) -> None:
        """Write the result, last and once, with the log before it."""
        if result.status != "succeeded":
            with contextlib.suppress(StoreError):
                self._leaver.leave_log()
        self._store.create(RESULT, to_json(result).encode())


def _unpacked(kind: type[RecordT], path: Path) -> RecordT:
    """A document of the parcel; one with secrets is removed if that is possible."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DocumentError(f"the parcel has no {path.name} that can be read: {error}; start anew") from error
    if kind is Private:
        with contextlib.suppress(OSError):  # a Secret of Kubernetes is mounted read-only
            path.unlink()
    return from_json(kind, content)
