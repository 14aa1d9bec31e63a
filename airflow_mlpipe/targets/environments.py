"""What a step's process finds installed on a local target: as a part of the recipe, and for real."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.layout import environment_lock_key
from airflow_mlpipe.targets.images.definition import ImageDefinition
from airflow_mlpipe.targets.installed import Memory
from airflow_mlpipe.targets.interpreter import describe_everything, describe_imports, installed_modules
from airflow_mlpipe.targets.interrogation import Interpreter, interrogate
from airflow_mlpipe.targets.python_path import PythonPath
from airflow_mlpipe.targets.virtualenv import VirtualEnvironments


class Needs(Protocol):
    """What a step's code needs: ``external`` are the top-level modules that it is known to import.

    ``why_open`` says why it may import others as well, None when it cannot. ``elsewhere`` are those that may
    come from folders that nobody knows, and ``why_elsewhere`` says why.
    """

    @property
    def external(self) -> Sequence[str]: ...

    @property
    def why_open(self) -> str | None: ...

    @property
    def elsewhere(self) -> Sequence[str]: ...

    @property
    def why_elsewhere(self) -> str | None: ...


@dataclass(frozen=True)
class StepEnvironment:
    """The environment of one step on this worker.

    ``document`` is its part of the recipe; ``undetermined`` are sentences on what could not be told.
    ``lock`` are the pinned packages of a virtual environment, None for an interpreter that is there
    already; ``python`` is that interpreter, or the version that the virtual environment wants. ``image`` is
    the image that the step runs in, None for an interpreter of this machine; ``build`` is how it is built,
    None for one that is there.
    """

    document: dict[str, Any]
    python: str
    lock: str | None = None
    undetermined: tuple[str, ...] = ()
    image: str | None = None
    build: ImageDefinition | None = None


class UnresolvedPackages(TargetError):
    """What a list of *packages* stands for is not known yet, and the caller may not find out."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)
        super().__init__(
            f"the packages {', '.join(packages)} were never resolved; run a step that needs them"
        )


class Environments(Protocol):
    """Plans and provides what steps find installed on one kind of target."""

    def plan(
        self, environment: Environment, needs: Needs, path: PythonPath, program: str | None = None
    ) -> StepEnvironment:
        """The environment as it counts in the fingerprint.

        *path* is what PYTHONPATH adds; *program* is what a command starts, None for a Python script. Raises
        TargetError when packages cannot be resolved, or an interpreter or program is not there, and
        UnresolvedPackages when it may not resolve them.
        """

    def modules(self, environment: Environment, path: PythonPath) -> frozenset[str]:
        """Top-level modules that are installed there, as far as they are known; raises as :meth:`plan`."""

    def interpreter(self, planned: StepEnvironment) -> Path:
        """The interpreter of a planned environment without an image, built now if need be.

        Raises TargetError.
        """

    def image(self, planned: StepEnvironment) -> str:
        """The reference of the image of a planned environment that has one, built now if need be.

        It starts the image that was planned and no other one. Raises TargetError.
        """


class LocalEnvironments:
    """Plans and provides environments on this worker.

    A list of packages is resolved once for all workers; the result is kept in the *datastore*, unless one of
    *others*, to which nothing is written, has it: who reuses their outputs must mean the same by a list.
    *cache* is the folder for virtual environments; *say* gets progress lines. Unless *resolves_packages*,
    packages that nobody has resolved so far raise UnresolvedPackages.
    """

    def __init__(
        self,
        target: LocalTarget,
        datastore: Datastore,
        cache: Path,
        memory: Memory,
        say: Callable[[str], None],
        *,
        others: Sequence[Datastore] = (),
        resolves_packages: bool = True,
    ) -> None:
        self._target = target
        self._datastore = datastore
        self._others = others
        self._memory = memory
        self._virtual = VirtualEnvironments(cache)
        self._say = say
        self._resolves_packages = resolves_packages

    def plan(
        self, environment: Environment, needs: Needs, path: PythonPath, program: str | None = None
    ) -> StepEnvironment:
        """See :class:`Environments`; an image is for targets with containers, and passed over here."""
        if environment.image is not None or environment.dockerfile is not None:
            where = "a virtual environment with its packages" if environment.is_isolated else self._python
            self._say(f"The image of the environment is passed over: here the step runs in {where}")
        if environment.is_isolated:
            planned = self._isolated(environment, needs, path)
        else:
            planned = self._of_interpreter(needs, path)
        if program is None:
            return planned
        document = {**planned.document, "program": _program_document(program, planned)}
        return replace(planned, document=document)

    def modules(self, environment: Environment, path: PythonPath) -> frozenset[str]:
        """See :class:`Environments`; of a virtual environment the names of the distributions are known."""
        if environment.is_isolated:
            return frozenset(name.replace("-", "_") for name in self._distributions(environment)[1])
        return installed_modules(paths=self._ask(path).paths, remember=self._memory)

    def interpreter(self, planned: StepEnvironment) -> Path:
        """See :class:`Environments`."""
        if planned.lock is None:
            return Path(planned.python)
        return self._virtual.python(planned.lock, planned.python, self._say)

    def image(self, planned: StepEnvironment) -> str:
        """See :class:`Environments`; here is none."""
        raise TargetError("a step on this machine runs in no image")

    def _isolated(self, environment: Environment, needs: Needs, path: PythonPath) -> StepEnvironment:
        version = environment.python_version or _minor_version(sys.version_info)
        lock, distributions = self._distributions(environment)
        beside, undetermined = self._found(needs, path.outside)
        document = {
            "python": version,
            "packages": sorted(environment.pip_packages),
            "distributions": distributions
            | {name: found for name, found in beside.items() if not name.startswith("missing:")},
        }
        return StepEnvironment(document, version, lock, undetermined)

    def _distributions(self, environment: Environment) -> tuple[str, dict[str, str]]:
        """The lock of a virtual environment, and the versions that it names."""
        version = environment.python_version or _minor_version(sys.version_info)
        lock = self._lock(environment.pip_packages, version) if environment.pip_packages else ""
        return lock, dict(line.split("==", 1) for line in lock.splitlines() if "==" in line)

    def _lock(self, packages: Sequence[str], version: str) -> str:
        wanted = json.dumps([sorted(packages), version, sys.platform, platform.machine()])
        key = environment_lock_key(_sha256(wanted))
        known = (store.read(key) for store in (self._datastore, *self._others))
        kept = next((lock for lock in known if lock is not None), None)
        if kept is None and not self._resolves_packages:
            raise UnresolvedPackages(packages)
        if kept is None:
            self._datastore.create(key, self._virtual.resolve(packages, version, self._say).encode())
            # Another worker may have been first; all install what the datastore says.
            kept = self._datastore.read(key)
        if kept is None:
            raise TargetError(f"the resolved packages vanished from the datastore: {key}")
        return kept.decode()

    def _of_interpreter(self, needs: Needs, path: PythonPath) -> StepEnvironment:
        interpreter = self._ask(path)
        versions, undetermined = self._found(needs, interpreter.paths)
        undetermined += tuple(
            f"{needs.why_elsewhere}, and {module} is neither in source_directory nor installed, so it may "
            "come from anywhere; put it into source_directory or the DAG bundle, or name its folder in "
            "PYTHONPATH"
            for module in needs.elsewhere
            if f"missing:{module}" in versions
        )
        document = {"python": interpreter.version, "distributions": versions}
        return StepEnvironment(document, self._python, None, undetermined)

    @property
    def _python(self) -> str:
        return self._target.python or sys.executable

    def _ask(self, path: PythonPath) -> Interpreter:
        return interrogate(self._python, path.outside, self._memory)

    def _found(self, needs: Needs, paths: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """What the code depends on in *paths*, and sentences on what cannot be told."""
        # Code that may import anything depends on all that is there.
        describe = describe_imports if needs.why_open is None else describe_everything
        found = describe(needs.external, paths=paths, remember=self._memory)
        return found.versions, tuple(sentence for _, sentence in sorted(found.unknown.items()))


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


def _minor_version(version: Any) -> str:
    return f"{version[0]}.{version[1]}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
