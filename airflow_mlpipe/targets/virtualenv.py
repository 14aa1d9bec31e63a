"""Virtual environments for steps, built by uv and kept.

uv takes its package index from its own settings only: ``UV_INDEX``, ``UV_DEFAULT_INDEX``, ``UV_FIND_LINKS``
and the like in the worker's environment, or a ``uv.toml``. It does not read pip's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_mlpipe.errors import TargetError

LAST_WORDS = 20
COMPLETE_MARK = "mlpipe-lock.txt"  # holds the lock; written last, so its presence means a whole environment

Say = Callable[[str], None]


class VirtualEnvironments:
    """Cached environments below *cache*, one for each lock, Python and platform.

    *uv* is the uv program; by default the one installed beside this package. ``python`` is always a
    version such as ``"3.11"`` or the path of an interpreter; ``say`` takes progress lines.
    """

    def __init__(self, cache: Path, uv: Path | None = None) -> None:
        self._cache = cache.absolute()
        self._uv = uv

    def resolve(self, packages: Sequence[str], python: str, say: Say) -> str:
        """The lock of *packages*: every distribution needed, pinned, one a line, sorted.

        Raises TargetError with uv's last words when there is no such set of versions.
        """
        if not packages:
            return ""
        arguments = ["pip", "compile", "-", "--python", _base(python), "--no-header", "--no-annotate"]
        output = self._run_uv(arguments, say, "cannot resolve the packages", text="\n".join(packages))
        pins = [line for line in output.splitlines() if line and not line.startswith(("#", "-", " "))]
        return "".join(f"{pin}\n" for pin in sorted(pins))

    def python(self, lock: str, python: str, say: Say) -> Path:
        """The interpreter of the environment that has exactly what *lock* names.

        The first caller builds it, others wait. Raises TargetError with uv's last words when it
        cannot be built.
        """
        environment = self._cache / f"venv-{_digest(lock, _identity(python), sysconfig.get_platform())}"
        interpreter = environment / "bin" / "python"
        if _is_complete(environment):
            return interpreter
        with self._building(environment, say) as held:
            if not _is_complete(environment):
                self._build(environment, lock, python, say, held)
        return interpreter

    def _build(self, environment: Path, lock: str, python: str, say: Say, held: int) -> None:
        if environment.exists():
            say(f"removing {environment}, whose building was interrupted or whose interpreter is gone")
            shutil.rmtree(environment)
        say(f"building a virtual environment with Python {python} and {len(lock.splitlines())} packages")
        problem = "cannot build the virtual environment"
        self._run_uv(
            ["venv", "--no-project", "--python", _base(python), str(environment)], say, problem, held=held
        )
        if lock:
            interpreter = str(environment / "bin" / "python")
            arguments = ["pip", "install", "--no-deps", "--python", interpreter, "--requirements", "-"]
            self._run_uv(arguments, say, problem, text=lock, held=held)
        draft = environment / f".{COMPLETE_MARK}"
        draft.write_text(lock, "utf8")
        draft.rename(environment / COMPLETE_MARK)

    @contextmanager
    def _building(self, environment: Path, say: Say) -> Iterator[int]:
        """Hold the environment's lock file; yields its descriptor."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with environment.with_name(f"{environment.name}.lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another process that builds the same virtual environment")
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()

    def _run_uv(
        self, arguments: list[str], say: Say, problem: str, *, text: str = "", held: int | None = None
    ) -> str:
        """Run uv with *text* as its input, telling what it does; return its output.

        uv inherits the lock *held*, so that nobody else builds while the uv of a killed worker still writes.
        """
        self._cache.mkdir(parents=True, exist_ok=True)
        last_words: deque[str] = deque(maxlen=LAST_WORDS)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
            given.write(text.encode())
            given.seek(0)
            with subprocess.Popen(
                [self._program(), *arguments],
                stdin=given,
                stdout=output,
                stderr=subprocess.PIPE,
                cwd=self._cache,  # not where some project's settings would be found
                env={**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
                pass_fds=() if held is None else (held,),
                text=True,
                errors="replace",
            ) as process:
                for line in process.stderr or ():
                    last_words.append(line.rstrip())
                    say(line.rstrip())
            if process.returncode != 0:
                raise TargetError(f"{problem}; uv says:\n" + "\n".join(last_words))
            output.seek(0)
            return output.read().decode()

    def _program(self) -> str:
        if self._uv is not None:
            if not self._uv.is_file():
                raise TargetError(f"there is no uv at {self._uv}; name an existing one or leave it out")
            return str(self._uv)
        from uv import find_uv_bin

        try:
            return find_uv_bin()
        except FileNotFoundError as error:
            raise TargetError(
                f"the program uv is not where its package has it ({error}); reinstall uv"
            ) from error


def _is_complete(environment: Path) -> bool:
    # The interpreter is a link; its target goes when that Python is upgraded or removed.
    return (environment / COMPLETE_MARK).exists() and (environment / "bin" / "python").exists()


def _base(python: str) -> str:
    """What uv starts from: this interpreter when it is of that version, rather than one that is searched."""
    return sys.executable if python == f"{sys.version_info[0]}.{sys.version_info[1]}" else python


def _identity(python: str) -> str:
    """What *python* stands for: a version is itself, an interpreter is its path and its version."""
    if os.sep not in python:
        return python
    question = "import platform; print(platform.python_implementation(), platform.python_version())"
    try:
        answer = subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise TargetError(f"{python!r} is not a Python interpreter that runs: {error}") from error
    return f"{os.path.realpath(python)} {answer.stdout.strip()}"


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part.encode())}:{part}".encode())
    return digest.hexdigest()[:16]
