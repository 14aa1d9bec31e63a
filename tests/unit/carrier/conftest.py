from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.records import (
    Brought,
    Carriage,
    CarriedFile,
    CarriedInput,
    HandedCredentials,
    LaunchSpec,
    OutputSpec,
    Private,
    RunInfo,
    StepResult,
    from_json,
    to_json,
)
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.layout import attempt_prefix, snapshot_key
from airflow_mlpipe.store.snapshot import SnapshotFile, pack
from airflow_mlpipe.store.tree import read_tree
from airflow_mlpipe.targets.parcel import Parcel, boot_command
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

ATTEMPT = "train-1"
RUN_INFO = RunInfo(ATTEMPT, "digits", "digits", "manual-1", "train", -1, 1)


@dataclass
class Errand:
    """An attempt whose parcel is delivered to a machine of its own: the folder *machine*.

    The datastore *store* with its driver's *options* is all that the machine shares with this test.
    """

    machine: Path
    store: Datastore
    options: Mapping[str, Any]
    bundle: Path
    python: Path = Path(sys.executable)
    files: dict[str, bytes] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    parcel: Parcel | None = None

    @property
    def root(self) -> Path:
        return self.machine / "mlpipe"

    @property
    def prefix(self) -> str:
        return attempt_prefix(ATTEMPT)

    @property
    def directory(self) -> Path:
        return self.store.local_path(self.prefix) or self.root / "attempt"

    @property
    def carriage(self) -> Carriage:
        archive = pack({name: SnapshotFile(data) for name, data in self.files.items()})
        digest = hashlib.sha256(archive).hexdigest()
        self.store.create(snapshot_key(digest), archive)
        return Carriage(self.store.uri(self.prefix), self.store.uri(snapshot_key(digest)), digest)

    def spec(self, script: str, *arguments: str, **fields: Any) -> LaunchSpec:
        self.files["train.py"] = script.encode()
        known: dict[str, Any] = {
            "outputs": {
                "model": OutputSpec(str(self.directory / "outputs/model"), create=True),
                "table": OutputSpec(str(self.directory / "outputs/table"), create=False),
            },
            "termination_grace_seconds": 5.0,
            "carriage": f"{self.store.uri(self.prefix)}/carriage.json",
        }
        argv = [str(self.python), "train.py", *arguments]
        code = str(self.root / "code")
        return LaunchSpec(ATTEMPT, "f" * 64, argv, str(self.directory), code, RUN_INFO, **{**known, **fields})

    def start(
        self,
        spec: LaunchSpec,
        *,
        carriage: Carriage | None = None,
        inputs: Mapping[str, list[CarriedInput]] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Deliver the parcel and run it."""
        carriage = replace(carriage or self.carriage, inputs=dict(inputs or {}))
        self.store.write(f"{self.prefix}/carriage.json", to_json(carriage).encode())
        urls = {self.store.url: 0} if self.options else {}
        private = Private(
            dict(variables or {}), HandedCredentials(urls, [dict(self.options)] if urls else [])
        )
        self.parcel = Parcel.of(spec, private, self.bundle)
        return self.restart()

    def restart(self) -> subprocess.Popen[bytes]:
        """Deliver the same parcel once more and run it."""
        assert self.parcel is not None
        folder = self.machine / "parcel"
        folder.mkdir(exist_ok=True, parents=True)
        for name, content in self.parcel.files().items():
            (folder / name).write_bytes(content)
        process = subprocess.Popen(
            boot_command(str(self.python), str(folder), str(self.root)),
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, script: str, *arguments: str, **handed: Any) -> tuple[int, str]:
        """Run *script* to its end: the exit code of the carrier, and what it printed."""
        process = self.start(self.spec(script, *arguments), **handed)
        said = process.communicate(timeout=60)[0].decode()
        return process.returncode, said

    def input(self, key: str, folder: Path, digest: str | None = None) -> CarriedInput:
        """The *folder*, which the store has at *key*, as an input of that name."""
        tree = read_tree(folder)
        files = [
            CarriedFile(
                file.path,
                self.store.uri(f"{key}/{file.path}"),
                file.size,
                sha256_file(file.source),
                file.executable,
            )
            for file in tree.files
        ]
        return CarriedInput(str(self.root / "inputs" / key), files, list(tree.empty_directories), digest)

    def result(self) -> StepResult | None:
        content = self.store.read(f"{self.prefix}/result.json")
        return None if content is None else from_json(StepResult, content)

    def brought(self) -> list[Brought]:
        content = self.store.read(f"{self.prefix}/brought.jsonl")
        assert content is not None
        return [from_json(Brought, line) for line in content.splitlines()]

    def left(self) -> dict[str, bytes | None]:
        """What lies below the attempt's folder."""
        files = self.store.files(self.prefix)
        return {file.key.removeprefix(f"{self.prefix}/"): self.store.read(file.key) for file in files}


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Waits until a condition holds."""
    return _until


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime_bundle(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def errand(tmp_path: Path, bundle: Path, bare_python: Path) -> Iterator[Errand]:
    """An attempt on a machine that has the datastore's disk mounted, and Python without any package."""
    store = Datastore.open(f"file://{tmp_path}/store")
    yield from _ended(Errand(tmp_path / "machine", store, {}, bundle, bare_python))


@pytest.fixture
def s3_errand(tmp_path: Path, bundle: Path, s3: Any) -> Iterator[Errand]:
    """An attempt on a machine that reaches the datastore by the network only."""
    store = Datastore.open(s3.url, **s3.options)
    yield from _ended(Errand(tmp_path / "machine", store, s3.options, bundle))


def _ended(errand: Errand) -> Iterator[Errand]:
    yield errand
    for process in errand.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
