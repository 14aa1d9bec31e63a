"""A machine that is reached by SSH: this one, by a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.targets.contract import AttemptDirectory
from tests.sshd import SshServer
from tests.targets.benches import CarriedBench, kill

if TYPE_CHECKING:
    from airflow_mlpipe.targets.remote.driver import RemoteDriver


class RemoteBench(CarriedBench):
    """Processes that *server* has started. An attempt lives below *there*, which only the machine knows."""

    def __init__(self, folder: Path, bundle: Path, server: SshServer, there: Path) -> None:
        super().__init__(folder, bundle)
        self.server = server
        self.there = there

    def driver(self, *, python: str = "python3", patience: float = 60.0) -> RemoteDriver:
        from airflow_mlpipe.targets.remote.driver import RemoteDriver

        target = RemoteTarget(
            ssh_conn_id="box", folder=str(self.there), python=python, patience_seconds=patience
        )
        return RemoteDriver(self.server.connect, target, self.bundle, self.records)

    def root(self, attempt: AttemptDirectory) -> str:
        return str(self.there / attempt.attempt)

    def destroy(self, attempt: AttemptDirectory) -> None:
        kill(process for process in psutil.process_iter() if _lives_in(process, self.root(attempt)))

    def kept(self, attempt: AttemptDirectory) -> list[str]:
        return [str(path) for path in Path(self.root(attempt)).rglob("*")]


def _lives_in(process: psutil.Process, root: str) -> bool:
    try:
        return process.environ().get("MLPIPE_ATTEMPT_FOLDER") == root
    except psutil.Error:
        return False
