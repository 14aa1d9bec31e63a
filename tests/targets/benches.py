"""Targets under test: how the contract's tests get at each of them, and nothing of what they promise."""

from __future__ import annotations

import hashlib
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from airflow_mlpipe.records import Carriage, InputSpec, LaunchSpec, RunInfo
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, snapshot_key
from airflow_mlpipe.store.snapshot import SnapshotFile, pack, unpack
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, TargetDriver
from airflow_mlpipe.targets.local import LocalDriver
from tests.targets.fake_target import Cloud, FakeDriver

CODE = {"a_module.py": SnapshotFile(b"WORD = 'carried along'\n")}
RAW = "s3://raw"


class Bench(ABC):
    """One target. Its steps find *folder*, in which all of this lies, under its own path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.datastore = Datastore.open(f"file://{folder}/store")
        self.container: Container | None = None

    @abstractmethod
    def driver(self) -> TargetDriver:
        """A new driver, as another worker would make it."""

    @abstractmethod
    def destroy(self, attempt: AttemptDirectory) -> None:
        """Take away the machine that *attempt* runs on, without asking anybody, and all that runs there."""

    def shown(self, attempt: AttemptDirectory) -> str:
        """What the target shows of a running attempt to those who may look at it: descriptions, arguments."""
        return "\n".join(_command_lines())

    def kept(self, attempt: AttemptDirectory) -> list[str]:
        """The names of all that the target still has of an attempt, besides its records."""
        return []

    def attempt(self) -> AttemptDirectory:
        """A new one, with an id like those that steps have."""
        attempt = f"h.train.{uuid.uuid4().hex[:12]}"
        path = self.datastore.local_path(attempt_prefix(attempt))
        assert path is not None
        return AttemptDirectory(path, attempt)

    def spec(self, attempt: AttemptDirectory, *argv: str, environment: dict[str, str]) -> LaunchSpec:
        """The launch of *argv* as *attempt*, with CODE in its working directory and RAW for it to open."""
        (attempt.path / "outputs").mkdir(parents=True)
        for folder in (attempt.path, attempt.path / "outputs"):
            folder.chmod(0o777)  # the step's user need not be this one
        run = RunInfo("run-1", "e", "d", "r", "t", map_index=-1, try_number=1)
        placed = self._placed(attempt)
        return LaunchSpec(
            attempt.attempt,
            "f" * 64,
            list(argv),
            str(attempt.path),
            run=run,
            inputs={"raw": InputSpec("file", [RAW])},
            environment=environment,
            termination_grace_seconds=5.0,
            **placed,
        )

    def _placed(self, attempt: AttemptDirectory) -> dict[str, Any]:
        """Put the code in place; gives the fields of a LaunchSpec that depend on where that is."""
        code = self.folder / "work" / attempt.attempt / "code"
        code.parent.mkdir(parents=True)
        unpack(pack(CODE), code)
        return {"working_directory": str(code)}


class FakeBench(Bench):
    """The fake target."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cloud = Cloud()

    def driver(self) -> TargetDriver:
        return FakeDriver(self._cloud)

    def destroy(self, attempt: AttemptDirectory) -> None:
        self._cloud.machines[attempt.attempt].end(lost=True)


class LocalBench(Bench):
    """Processes of this machine."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        super().__init__(folder)
        self._bundle = bundle

    def driver(self) -> TargetDriver:
        return LocalDriver(self._bundle)

    def destroy(self, attempt: AttemptDirectory) -> None:
        kill(process for process in psutil.process_iter() if belongs_to(process, attempt))


class CarriedBench(Bench):
    """What targets have in common to which everything is carried; *root* is where an attempt lives there."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        super().__init__(folder)
        self.bundle = bundle
        self.records = AttemptRecords(self.datastore)

    def root(self, attempt: AttemptDirectory) -> str:
        """The folder of the attempt on its machine."""
        return "/mlpipe"

    def _placed(self, attempt: AttemptDirectory) -> dict[str, Any]:
        archive = pack(CODE)
        digest = hashlib.sha256(archive).hexdigest()
        self.datastore.write(snapshot_key(digest), archive)
        carriage = Carriage(
            self.records.url(attempt.attempt), self.datastore.uri(snapshot_key(digest)), digest
        )
        self.records.send(attempt, carriage)
        return {
            "working_directory": f"{self.root(attempt)}/code",
            "carriage": self.records.url(attempt.attempt, "carriage.json"),
        }


def belongs_to(process: psutil.Process, attempt: AttemptDirectory) -> bool:
    """Whether it is a process of *attempt* on this machine, by its environment or its arguments."""
    try:
        marks = [process.environ().get("MLPIPE_SPEC", ""), *process.cmdline()]
    except psutil.Error:
        return False
    return process.pid != os.getpid() and any(attempt.attempt in mark for mark in marks)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them all, before one of them notices that another is gone."""
    doomed = list(processes)
    for end in (psutil.Process.suspend, psutil.Process.kill):
        for process in doomed:
            with suppress(psutil.NoSuchProcess):  # one may end with its parent
                end(process)


def _command_lines() -> list[str]:
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines
