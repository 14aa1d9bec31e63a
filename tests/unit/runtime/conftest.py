from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import airflow_mlpipe
from airflow_mlpipe.records import LaunchSpec, RunInfo, StepResult, from_json, to_json

PACKAGE_FOLDER = Path(airflow_mlpipe.__file__).parents[1]
SUPERVISOR = [sys.executable, "-X", "utf8", "-E", "-s", "-S", "-m", "airflow_mlpipe.runtime"]
RUN_INFO = RunInfo(
    id="run-1",
    experiment="digits",
    dag_id="digits",
    dag_run_id="manual-1",
    task_id="train",
    map_index=-1,
    try_number=2,
    tags={"team": "vision"},
)


@dataclass
class Attempt:
    """One attempt in a real folder, run by a real supervisor."""

    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.directory / "log.txt"

    @property
    def result_path(self) -> Path:
        return self.directory / "result.json"

    def spec(self, *argv: str, **fields: Any) -> LaunchSpec:
        return LaunchSpec(
            **{
                "attempt": "attempt-1",
                "fingerprint": "f" * 64,
                "argv": list(argv),
                "directory": str(self.directory),
                "working_directory": str(self.directory),
                "run": RUN_INFO,
                "termination_grace_seconds": 5.0,
                **fields,
            }
        )

    def write(self, spec: LaunchSpec) -> Path:
        path = self.directory / "spec.json"
        path.write_text(to_json(spec))
        return path

    def start(self, *argv: str, inherited: dict[str, str] | None = None, **fields: Any) -> Any:
        """Start a supervisor, which is returned, and nothing else."""
        supervisor = subprocess.Popen(
            [*SUPERVISOR, str(self.write(self.spec(*argv, **fields)))],
            cwd=PACKAGE_FOLDER,
            env={**os.environ, **(inherited or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(supervisor)
        return supervisor

    def start_python(self, code: str, *arguments: str, **fields: Any) -> Any:
        return self.start(sys.executable, "-c", code, *arguments, **fields)

    def run(self, *argv: str, **fields: Any) -> StepResult:
        """Run the supervisor to its end; its result."""
        said = self.start(*argv, **fields).communicate(timeout=60)[0]
        assert said == b""
        return self.result()

    def run_python(self, code: str, *arguments: str, **fields: Any) -> StepResult:
        return self.run(sys.executable, "-c", code, *arguments, **fields)

    def result(self) -> StepResult:
        return from_json(StepResult, self.result_path.read_bytes())

    def number_in(self, name: str) -> int:
        """The number that the step writes into the file *name* of its directory."""
        path = self.directory / name
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_text().endswith("\n")):
            assert time.monotonic() < deadline, f"the step did not write {name}"
            time.sleep(0.01)
        return int(path.read_text())


@pytest.fixture
def attempt(tmp_path: Path) -> Any:
    directory = tmp_path / "attempt"
    directory.mkdir()
    attempt = Attempt(directory)
    yield attempt
    for process in attempt.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
