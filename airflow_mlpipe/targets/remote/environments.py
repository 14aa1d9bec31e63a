"""What a step finds installed on a machine that is reached by SSH: its own interpreter, as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.targets.environments import Needs, StepEnvironment
from airflow_mlpipe.targets.interrogation import QUESTION
from airflow_mlpipe.targets.python_path import PythonPath
from airflow_mlpipe.targets.remote.machine import Machine


class RemoteEnvironments:
    """Describes the environment that *machine* offers; nothing is installed there.

    All distributions of the interpreter *python* count, whatever the step imports: what they require of each
    other is known to the machine alone. The machine is asked each time, for nobody here can tell whether
    something was installed there since.
    """

    def __init__(self, machine: Machine, python: str) -> None:
        self._machine = machine
        self._python = python

    def plan(
        self, environment: Environment, needs: Needs, path: PythonPath, program: str | None = None
    ) -> StepEnvironment:
        """The environment as it counts in the fingerprint; see ``LocalEnvironments.plan``.

        Raises TargetError when the interpreter or program is not there, InfrastructureError when the machine
        is not reached.
        """
        told = self._ask(path, needs.external, _searched(program))
        document: dict[str, Any] = {"python": told["version"], "distributions": told["distributions"]}
        if program is not None:
            document["program"] = self._program(program, told["program"])
        return StepEnvironment(document, self._python, None, (*_untold(told["untold"]), *_outside(path)))

    def modules(self, environment: Environment, path: PythonPath) -> frozenset[str]:
        """Top-level modules that are installed there; raises as :meth:`plan`."""
        return frozenset(self._ask(path, (), None)["modules"])

    def interpreter(self, planned: StepEnvironment) -> Path:
        """What starts a Python script there."""
        return Path(planned.python)

    def image(self, planned: StepEnvironment) -> str:
        """See :class:`~airflow_mlpipe.targets.environments.Environments`; there is none."""
        raise TargetError("a step on a remote machine runs in no image")

    def _ask(self, path: PythonPath, imported: Sequence[str], program: str | None) -> dict[str, Any]:
        request = {
            "verb": "describe",
            "question": QUESTION,
            "python_path": path.outside,
            "imported": sorted(imported),
            "program": program,
        }
        return self._machine.ask("interpreter", request)

    def _program(self, program: str, digest: str | None) -> dict[str, str]:
        """A program by its name and bytes; one that comes with the code counts there."""
        if _searched(program) is None:
            return {"name": program}
        if digest is None:
            raise TargetError(
                f"the program {program!r} is not on the PATH that commands have by SSH; install it on the "
                "machine, or name its absolute path"
            )
        return {"name": program, "digest": digest}


def _searched(program: str | None) -> str | None:
    """What has to be looked for on the machine; None for a path below the step's code."""
    return None if program is None or ("/" in program and not program.startswith("/")) else program


def _untold(places: dict[str, str]) -> list[str]:
    return [
        f"no version tells what {name} holds at {place} on the machine; install it there from an index or a "
        "wheel, or put it into source_directory"
        for name, place in sorted(places.items())
    ]


def _outside(path: PythonPath) -> list[str]:
    return [
        f"PYTHONPATH names {folder}, whose contents on the machine are not looked at; put what the step "
        "needs into source_directory"
        for folder in path.outside
    ]
