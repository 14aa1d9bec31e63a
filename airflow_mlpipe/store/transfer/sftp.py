"""SFTP servers."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from airflow_mlpipe.store.atomic import temporary_name
from airflow_mlpipe.store.transfer.server import Server


class SftpServer(Server):
    """By fsspec's driver. A file is sent under another name first, because it grows where all can see it."""

    def send(self, source: Path, path: str, digest: str) -> str | None:
        temporary = str(PurePosixPath(path).with_name(temporary_name()))
        with self.reporting("write", path), self._turn:
            self.filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            try:
                self.filesystem.put_file(str(source), temporary)
                self.filesystem.mv(temporary, path)
            except BaseException:
                if self.filesystem.exists(temporary):
                    self.filesystem.rm_file(temporary)
                raise
        return None
