"""Which server has what lies at a URL."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe import access
from airflow_mlpipe.store.transfer.server import Server


class Servers:
    """The servers behind URLs; each folder is looked up once."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[Server, str]] = {}
        self._servers: dict[int, Server] = {}

    def at(self, url: str) -> tuple[Server, str]:
        """The server that has *url*, and what its driver calls that; raises StoreError."""
        folder, _, name = url.rpartition("/")
        if folder not in self._folders:
            filesystem, path = access.filesystem(f"{folder}/")
            server = self._servers.setdefault(id(filesystem), server_of(filesystem))
            self._folders[folder] = server, path.rstrip("/")
        server, path = self._folders[folder]
        return server, f"{path}/{name}"


class OneServer(Servers):
    """A server that is open already, for URLs below *root*, which its driver calls *path*."""

    def __init__(self, server: Server, root: str, path: str) -> None:
        super().__init__()
        self._server, self._root, self._path = server, root, path

    def at(self, url: str) -> tuple[Server, str]:
        return self._server, self._path + url.removeprefix(self._root)


def server_of(filesystem: Any) -> Server:
    """The server behind a driver of fsspec."""
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    if protocol in ("s3", "s3a"):
        from airflow_mlpipe.store.transfer.s3 import S3Server

        return S3Server(filesystem)
    if protocol in ("abfs", "az", "abfss"):
        from airflow_mlpipe.store.transfer.blob import BlobServer

        return BlobServer(filesystem)
    if protocol in ("gs", "gcs"):
        from airflow_mlpipe.store.transfer.google import GoogleServer

        return GoogleServer(filesystem)
    if protocol in ("sftp", "ssh"):
        from airflow_mlpipe.store.transfer.sftp import SftpServer

        return SftpServer(filesystem)
    return Server(filesystem)
