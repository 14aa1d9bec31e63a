"""``airflow`` as somebody types it where an Airflow runs, which is started once for all that is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.typed import Typed

# Each command has a process of its own, forked where the executable would have had Airflow loaded: that takes
# seconds, and is the same each time.
_PROGRAM = """
import json, os, sys
from airflow.__main__ import main
import airflow.dag_processing.dagbag

for line in sys.stdin:
    words, out, err = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv[1:] = words
        sys.exit(main())
    _, status = os.waitpid(pid, 0)
    os.write(3, b"%d\\n" % os.waitstatus_to_exitcode(status))
"""


class Terminal:
    """Types ``airflow`` and some words; one command at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def type(self, *words: str) -> Typed:
        """Type ``airflow`` and *words*, and wait for what comes of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = self._folder / "out", self._folder / "err"
        self._process.stdin.write(json.dumps([words, str(out), str(err)]) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline()
        assert code, f"nobody is left who types {words}"
        return Typed(int(code), out.read_text(), err.read_text())


@contextmanager
def terminal(environment: Mapping[str, str], folder: Path) -> Iterator[Terminal]:
    """A terminal with these variables; what is printed in it goes by way of files in *folder*."""
    # Whatever Airflow prints when it is loaded goes to standard error, the exit codes come alone.
    command = ["sh", "-c", 'exec "$0" -c "$1" 3>&1 1>&2', sys.executable, _PROGRAM]
    with subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Terminal(process, folder)
