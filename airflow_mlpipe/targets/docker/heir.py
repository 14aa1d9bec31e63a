"""Who finishes the end of a container for a worker that is killed before it could.

Airflow kills a task five seconds after it was marked, and a step may be given longer to end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import BinaryIO


class Heir:
    """A process that ends and removes *container* once this one is gone, unless it is dismissed before.

    It is not of this process's session, and notices its death by a pipe between them. *address* has the
    variables by which Docker's own clients find the engine. Raises OSError when it cannot be started.
    """

    def __init__(self, container: str, address: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, container],
            cwd="/",
            env={**os.environ, **address},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Let it go without doing anything, and return when it has gone."""
        self._process.communicate(b"dismissed")


def main(container: str, testator: BinaryIO) -> None:
    """Wait for the end of *testator*; if nothing was said until then, end and remove *container*."""
    if testator.read():
        return
    from docker import APIClient
    from docker.utils import kwargs_from_env

    from airflow_mlpipe.targets.docker.engine import Engine

    engine = Engine(APIClient(version="auto", **kwargs_from_env()))
    found = engine.find(container)
    if found is not None:
        engine.stop(found)
        engine.remove(found.id)


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer)
