"""A real SSH server for tests, on a port of this machine that is kept for it."""

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

from tests.reserved_port import reserved_port

if TYPE_CHECKING:
    import paramiko

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_START_SECONDS = 120


class SshServer:
    """A server that lets the user of this process in with the key *user_key*. It may stop and start again.

    It listens on *port*; its keys and settings lie in *folder*.
    """

    def __init__(self, folder: Path, port: int) -> None:
        import paramiko

        self._folder = folder
        self.port = port
        self.user = getpass.getuser()
        self.user_key = folder / "user"
        for name in ("host", "user"):
            paramiko.ECDSAKey.generate().write_private_key_file(str(folder / name))
        self.host_key = _public(folder / "host")
        (folder / "authorized").write_text(f"{_public(self.user_key)}\n")
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
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """End it, and with it every connection. What was started by them goes on, if it is detached."""
        if self._process is None:
            return
        server = psutil.Process(self._process.pid)
        server.suspend()
        os.waitpid(server.pid, os.WUNTRACED)  # it stands still, and starts no session that is not among these
        for session in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if session.name().startswith("sshd"):
                    session.kill()
        self._process.kill()
        self._process.wait()
        self._process = None

    def connect(self) -> paramiko.SSHClient:
        """A connection to it, whose host key is known."""
        import paramiko

        client = paramiko.SSHClient()
        name, _, _ = self.host_key.partition(" ")
        key = paramiko.ECDSAKey(filename=str(self._folder / "host"))
        client.get_host_keys().add(f"[127.0.0.1]:{self.port}", name, key)
        login: dict[str, Any] = {"username": self.user, "key_filename": str(self.user_key)}
        login |= {"allow_agent": False, "look_for_keys": False}
        patience = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), 60)
        client.connect("127.0.0.1", self.port, **login, **patience)
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
    with reserved_port() as port:
        server = SshServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _public(path: Path) -> str:
    import paramiko

    key = paramiko.ECDSAKey(filename=str(path))
    return f"{key.get_name()} {key.get_base64()}"
