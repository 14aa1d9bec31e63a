"""What the author declared of a step, as it is known when its task runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.entry import Command, Function, Script
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.pipeline.functions.call import FunctionCall
from airflow_mlpipe.reuse.code_tree import FUNCTION
from airflow_mlpipe.targets.python_path import PythonPath


@dataclass(frozen=True)
class StepDefinition:
    """A step with names resolved and templates rendered.

    ``folder`` is that of the DAG file, at which relative paths start; ``bundle`` is the root of the DAG
    bundle, from which modules may come along. A function may do without a ``source_directory``, and has
    ``call`` in place of arguments and inputs. ``azureml_compat`` None leaves it to the code whether the step
    has the stand-in for ``azureml``.
    """

    who: str
    folder: Path
    bundle: Path
    entry: Script | Command | Function
    source_directory: Path | None
    arguments: Any
    inputs: tuple[Any, ...]
    environment: Environment
    environment_variables: Mapping[str, str]
    target: ComputeTarget
    reuse: ReuseOptions
    call: FunctionCall | None = None
    azureml_compat: bool | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments that the author wrote as texts."""
        if self.call is not None:
            return self.call.texts
        return tuple(item for item in self.arguments or () if isinstance(item, str))

    @property
    def has_results(self) -> bool:
        """Whether the step returns anything besides its outputs."""
        return isinstance(self.entry, Function) and self.entry.returns

    @property
    def entry_file(self) -> str | None:
        """The name of the Python file that starts, as code trees have it; None for a command."""
        if isinstance(self.entry, Function):
            return f"{FUNCTION}{self.entry.name}.py"
        return self.entry.script_name if isinstance(self.entry, Script) else None

    @property
    def generated(self) -> dict[str, bytes]:
        """The code that lies nowhere, by name."""
        if isinstance(self.entry, Function) and self.entry_file is not None:
            return {self.entry_file: self.entry.source.encode()}
        return {}

    @property
    def python_path(self) -> PythonPath:
        """What PYTHONPATH adds, on this worker, to where the step's process looks for modules."""
        declared = self.environment_variables
        is_elsewhere = not isinstance(self.target, LocalTarget)
        return PythonPath.of_step(declared, is_isolated=is_elsewhere or self.environment.is_isolated)
