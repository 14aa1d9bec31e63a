"""``azureml.core.script_run_config``: for the DAG."""

from __future__ import annotations

from .._stand_in import authoring, unknown

__all__ = ["ScriptRunConfig"]

ScriptRunConfig = authoring(
    __name__, "ScriptRunConfig", "write PythonScriptStep(script_name=..., source_directory=...)"
)

__getattr__ = unknown(__name__)
