"""What the author declared of a step, as it is known when its task runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.entry import Command, Script
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.targets.python_path import PythonPath


@dataclass(frozen=True)
class StepDefinition:
    """A step with names resolved and templates rendered.

    ``folder`` is that of the DAG file, at which relative paths start; ``bundle`` is the root of the DAG
    bundle, from which modules may come along.
    """

    who: str
    folder: Path
    bundle: Path
    entry: Script | Command
    source_directory: Path
    arguments: Any
    inputs: tuple[Any, ...]
    environment: Environment
    environment_variables: Mapping[str, str]
    target: LocalTarget
    reuse: ReuseOptions

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments that the author wrote as texts."""
        return tuple(item for item in self.arguments or () if isinstance(item, str))

    @property
    def python_path(self) -> PythonPath:
        """What PYTHONPATH adds, on this worker, to where the step's process looks for modules."""
        declared = self.environment_variables
        return PythonPath.of_step(declared, is_isolated=self.environment.is_isolated)
