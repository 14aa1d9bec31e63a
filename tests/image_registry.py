"""A real registry of images for tests: Debian's ``docker-registry``, with a login, on a port kept for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.reserved_port import reserved_port

PROGRAM = shutil.which("docker-registry") or "/usr/bin/docker-registry"
USER, PASSWORD = "mlpipe", "only-for-tests"
# Made by bcrypt from PASSWORD with the least work that it knows.
_PASSWORDS = f"{USER}:$2b$04$KybHCRZ69i/RglE4dyJLCOAG/CD50P2lB9y0/d8PkPIw6aCJhKQvG\n"


_START_SECONDS = 120


@dataclass(frozen=True)
class ImageRegistry:
    """A registry at *address*, which is a host and a port."""

    address: str

    def tags(self, repository: str) -> list[str]:
        """The tags that *repository* has there."""
        answer = httpx.get(
            f"http://{self.address}/v2/{repository}/tags/list", auth=(USER, PASSWORD), timeout=60
        )
        return sorted(answer.json().get("tags") or []) if answer.is_success else []


@contextmanager
def running_registry(folder: Path) -> Iterator[ImageRegistry]:
    """A registry that keeps its images in *folder*, for as long as the block lasts."""
    with reserved_port() as port, _running(folder, f"127.0.0.1:{port}") as registry:
        yield registry


@contextmanager
def _running(folder: Path, address: str) -> Iterator[ImageRegistry]:
    passwords, config = folder / "htpasswd", folder / "config.json"
    passwords.write_text(_PASSWORDS)
    document = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "tests", "path": str(passwords)}},
    }
    config.write_text(json.dumps(document))  # JSON is YAML
    with subprocess.Popen([PROGRAM, "serve", str(config)], stdout=subprocess.DEVNULL) as process:
        try:
            _await_answer(address, process)
            yield ImageRegistry(address)
        finally:
            process.terminate()


def _await_answer(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx.get(f"http://{address}/v2/")
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
