"""A real SSH server for tests, on a free port of this machine."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import paramiko

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class SshServer:
    """A server that lets the user of this process in with the key *user_key*. It may stop and start again."""

    def __init__(self, folder: Path) -> None:
        import paramiko

        self._folder = folder
        self.user = getpass.getuser()
        self.user_key = folder / "user"
        for name in ("host", "user"):
            paramiko.ECDSAKey.generate().write_private_key_file(str(folder / name))
        self.host_key = _public(folder / "host")
        (folder / "authorized").write_text(f"{_public(self.user_key)}\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "config").write_text(
            "".join(f"{name} {value}\n" for name, value in self._options().items())
        )

    def start(self) -> None:
        """Start it, and return when it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in
        assert SSHD is not None
        command = [SSHD, "-D", "-e", "-f", str(self._folder / "config")]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """End it, and with it every connection. What was started by them goes on, if it is detached."""
        if self._process is None:
            return
        sessions = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        self._process.wait()
        for session in sessions:
            with suppress(psutil.NoSuchProcess):
                if session.name().startswith("sshd"):
                    session.kill()
        self._process = None

    def connect(self) -> paramiko.SSHClient:
        """A connection to it, whose host key is known."""
        import paramiko

        client = paramiko.SSHClient()
        name, _, _ = self.host_key.partition(" ")
        key = paramiko.ECDSAKey(filename=str(self._folder / "host"))
        client.get_host_keys().add(f"[127.0.0.1]:{self.port}", name, key)
        login = {"username": self.user, "key_filename": str(self.user_key)}
        client.connect("127.0.0.1", self.port, **login, allow_agent=False, look_for_keys=False)
        return client

    def _options(self) -> dict[str, Any]:
        return {
            "HostKey": self._folder / "host",
            "AuthorizedKeysFile": self._folder / "authorized",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "Subsystem": "sftp internal-sftp",
            "ListenAddress": f"127.0.0.1:{self.port}",
        }


@contextmanager
def running_sshd(folder: Path) -> Iterator[SshServer]:
    """A server whose keys and settings lie in *folder*, for the duration of the block."""
    server = SshServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _public(path: Path) -> str:
    import paramiko

    key = paramiko.ECDSAKey(filename=str(path))
    return f"{key.get_name()} {key.get_base64()}"
