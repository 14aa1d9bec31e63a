"""What a step's process finds installed on a local target: as a part of the recipe, and for real."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.layout import environment_lock_key
from airflow_mlpipe.targets.interpreter import Memory, describe_everything, describe_imports
from airflow_mlpipe.targets.virtualenv import VirtualEnvironments


class Needs(Protocol):
    """What a step's code needs: ``external`` are the top-level modules that it is known to import.

    ``why_open`` says why it may import others as well, None when it cannot.
    """

    @property
    def external(self) -> Sequence[str]: ...

    @property
    def why_open(self) -> str | None: ...


@dataclass(frozen=True)
class StepEnvironment:
    """The environment of one step on this worker.

    ``document`` is its part of the recipe; ``undetermined`` are sentences on what could not be told.
    ``lock`` are the pinned packages of a virtual environment, None for an interpreter that is there
    already; ``python`` is that interpreter, or the version that the virtual environment wants.
    """

    document: dict[str, Any]
    python: str
    lock: str | None = None
    undetermined: tuple[str, ...] = ()


class LocalEnvironments:
    """Plans and provides environments on this worker.

    A list of packages is resolved once for all workers; the result is kept in the *datastore*.
    *cache* is the folder for virtual environments; *say* gets progress lines.
    """

    def __init__(
        self,
        target: LocalTarget,
        datastore: Datastore,
        cache: Path,
        memory: Memory,
        say: Callable[[str], None],
    ) -> None:
        self._target = target
        self._datastore = datastore
        self._memory = memory
        self._virtual = VirtualEnvironments(cache)
        self._say = say

    def plan(self, environment: Environment, needs: Needs, program: str | None = None) -> StepEnvironment:
        """The environment as it counts in the fingerprint.

        *program* is what a command starts; None for a Python script. Raises TargetError when packages cannot
        be resolved, or an interpreter or program is not there.
        """
        if environment.is_isolated:
            planned = self._isolated(environment)
        elif self._target.python is not None:
            planned = self._other_interpreter(self._target.python, needs)
        else:
            planned = self._of_worker(needs)
        if program is None:
            return planned
        document = {**planned.document, "program": _program_document(program, planned)}
        return StepEnvironment(document, planned.python, planned.lock, planned.undetermined)

    def interpreter(self, planned: StepEnvironment) -> Path:
        """The interpreter of a planned environment, built now if need be. Raises TargetError."""
        if planned.lock is None:
            return Path(planned.python)
        return self._virtual.python(planned.lock, planned.python, self._say)

    def _isolated(self, environment: Environment) -> StepEnvironment:
        version = environment.python_version or _minor_version(sys.version_info)
        lock = self._lock(environment.pip_packages, version) if environment.pip_packages else ""
        document = {
            "python": version,
            "packages": sorted(environment.pip_packages),
            "distributions": dict(line.split("==", 1) for line in lock.splitlines() if "==" in line),
        }
        return StepEnvironment(document, version, lock)

    def _lock(self, packages: Sequence[str], version: str) -> str:
        wanted = json.dumps([sorted(packages), version, sys.platform, platform.machine()])
        key = environment_lock_key(_sha256(wanted))
        kept = self._datastore.read(key)
        if kept is None:
            self._datastore.create(key, self._virtual.resolve(packages, version, self._say).encode())
            # Another worker may have been first; all install what the datastore says.
            kept = self._datastore.read(key)
        if kept is None:
            raise TargetError(f"the resolved packages vanished from the datastore: {key}")
        return kept.decode()

    def _of_worker(self, needs: Needs) -> StepEnvironment:
        document: dict[str, Any] = {"python": _minor_version(sys.version_info)}
        return self._with_distributions(document, sys.executable, needs, None)

    def _other_interpreter(self, python: str, needs: Needs) -> StepEnvironment:
        version, paths = _interrogate(python, self._memory)
        return self._with_distributions({"python": version}, python, needs, paths)

    def _with_distributions(
        self, document: dict[str, Any], python: str, needs: Needs, paths: Sequence[str] | None
    ) -> StepEnvironment:
        imported = describe_imports(needs.external, paths=paths, remember=self._memory)
        versions, unknown = dict(imported.versions), dict(imported.unknown)
        if needs.why_open is not None:
            # Code that may import anything depends on all that is installed.
            installed = describe_everything(paths=paths, remember=self._memory)
            versions.update(installed.versions)
            unknown.update(installed.unknown)
        document["distributions"] = dict(sorted(versions.items()))
        undetermined = tuple(sentence for _, sentence in sorted(unknown.items()))
        return StepEnvironment(document, python, None, undetermined)


def search_path(python: Path) -> str:
    """The PATH of a step: the interpreter's own folder first, so that ``python`` is that interpreter."""
    return os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])


def _program_document(program: str, planned: StepEnvironment) -> dict[str, str]:
    """A program by its name and bytes. One that comes with the code or the packages counts there."""
    if "/" in program and not program.startswith("/"):
        return {"name": program}
    if planned.lock is not None:
        path = shutil.which(program)
        return {"name": program} if path is None else {"name": program, "digest": sha256_file(Path(path))}
    path = shutil.which(program, path=search_path(Path(planned.python)))
    if path is None:
        raise TargetError(f"the program {program!r} is not on this worker's PATH; install it, or correct it")
    return {"name": program, "digest": sha256_file(Path(path))}


def _interrogate(python: str, memory: Memory) -> tuple[str, list[str]]:
    """The minor version and the search path of another interpreter."""
    try:
        real = os.path.realpath(python)
        status = Path(real).stat()
        key = f"{python}\0{real}\0{status.st_mtime_ns}\0{status.st_size}"
        answer = memory.lookup("interpreter", key)
        if answer is None:
            code = "import json, sys; print(json.dumps(['%d.%d' % sys.version_info[:2], sys.path[1:]]))"
            asked = subprocess.run(
                [python, "-c", code], capture_output=True, text=True, check=True, timeout=60
            )
            answer = asked.stdout
            memory.remember("interpreter", key, answer)
        version, paths = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise TargetError(f"the interpreter {python} does not answer: {error}") from error
    return version, paths


def _minor_version(version: Any) -> str:
    return f"{version[0]}.{version[1]}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
