"""A target that is nothing like the others: threads for machines, and dictionaries for disks.

That the contract's tests hold for it shows that they ask for what a target promises, and for no more.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.handing import handed_over
from airflow_mlpipe.records import CREDENTIALS_VARIABLE, LaunchSpec, Private, StepResult
from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, AttemptState, Container
from airflow_mlpipe.targets.log_lines import LogLines


class Machine:
    """One attempt at work. Nothing of it is on a disk but what the step writes there by itself."""

    def __init__(self, spec: LaunchSpec, private: Private) -> None:
        self.spec = spec
        self._log = b""
        self.result: StepResult | None = None
        self._changed = threading.Condition()
        self._is_lost = False
        self._is_unwanted = False
        self._started_at = time.time()
        with handed_over(private.credentials) as descriptor:
            handed = {} if descriptor is None else {CREDENTIALS_VARIABLE: str(descriptor)}
            self._process = subprocess.Popen(
                spec.argv,
                cwd=spec.working_directory,
                env={**spec.environment, **private.variables, **handed, "PATH": "/usr/bin:/bin"},
                pass_fds=() if descriptor is None else (descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def state(self) -> AttemptState:
        if self._is_lost:
            return "lost"
        return "running" if self.result is None else "finished"

    def output_from(self, position: int) -> tuple[bytes, bool]:
        """The log from byte *position*, once there is something or will be no more, and whether it runs."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._log) > position or self.state != "running")
            return self._log[position:], self.state == "running"

    def end(self, *, unwanted: bool = False, lost: bool = False) -> None:
        """End its process, on request or with the whole machine, and return when it has ended."""
        with self._changed:
            if self.state != "running":
                return
            self._is_unwanted, self._is_lost = unwanted, lost
        self._process.terminate()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := self._process.stdout.read1():  # type: ignore[attr-defined]
            with self._changed:
                self._log += chunk
                self._changed.notify_all()
        code = self._process.wait()
        self._process.stdout.close()
        status = "terminated" if self._is_unwanted else "succeeded" if code == 0 else "failed"
        with self._changed:
            if not self._is_lost:
                times = (self._started_at, time.time())
                self.result = StepResult(self.spec.attempt, status, code, *times)  # type: ignore[arg-type]
            self._changed.notify_all()


@dataclass
class Cloud:
    """All that outlives a driver: machines by their attempts, and who may start one."""

    machines: dict[str, Machine] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class FakeDriver:
    """Runs attempts in a *cloud*, to which any number of drivers have access."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        with self._cloud.lock:
            if attempt.attempt not in self._cloud.machines:
                self._cloud.machines[attempt.attempt] = Machine(spec, private)

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        machine = self._cloud.machines.get(attempt.attempt)
        return "unknown" if machine is None else machine.state

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        if (machine := self._cloud.machines.get(attempt.attempt)) is None:
            return
        lines, position, running = LogLines(), offset, True
        while running:
            chunk, running = machine.output_from(position)
            position += len(chunk)
            yield from lines.feed(chunk)
        yield from lines.close()

    def terminate(self, attempt: AttemptDirectory) -> None:
        if machine := self._cloud.machines.get(attempt.attempt):
            machine.end(unwanted=True)

    def result(self, attempt: AttemptDirectory) -> StepResult:
        machine = self._cloud.machines.get(attempt.attempt)
        if machine is None or machine.result is None:
            raise InfrastructureError(
                f"attempt {attempt.attempt} has no result, it is {self.status(attempt)}"
            )
        return machine.result

    def collect(self, attempt: AttemptDirectory) -> None:
        if machine := self._cloud.machines.get(attempt.attempt):
            attempt.path.mkdir(parents=True, exist_ok=True)
            attempt.write_spec(machine.spec)
            if machine.result is not None:
                attempt.write_result(machine.result)

    def discard(self, attempt: AttemptDirectory) -> None:
        """What is kept besides the records: nothing that a machine would have."""
