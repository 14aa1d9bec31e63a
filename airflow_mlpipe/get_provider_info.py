"""What Airflow is told of this provider. A plain dict, importing nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The metadata behind the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-mlpipe",
        "name": "MLPipe",
        "description": (
            "Machine learning pipelines as Airflow tasks: steps with declared inputs and outputs, each on "
            "its own compute target, whose outputs are reused when nothing that matters changed."
        ),
        "integrations": [{"integration-name": "MLPipe", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "MLPipe",
                "python-modules": [
                    "airflow_mlpipe.operators.python_script",
                    "airflow_mlpipe.operators.command",
                ],
            }
        ],
        "sensors": [
            {"integration-name": "MLPipe", "python-modules": ["airflow_mlpipe.sensors.output_reuse"]}
        ],
        "triggers": [{"integration-name": "MLPipe", "python-modules": ["airflow_mlpipe.triggers.outputs"]}],
        "task-decorators": [{"name": "mlpipe", "class-name": "airflow_mlpipe.decorators.step.step_task"}],
        "config": {
            "mlpipe": {
                "description": "Reuse of step outputs: where they are kept and how they are checked.",
                "options": OPTIONS,
            }
        },
    }


def _option(
    description: str, default: str, example: str | None = None, kind: str = "string"
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "datastore": _option(
        "Where outputs, manifests and snapshots are kept: a folder or an fsspec URL. Every worker must "
        "reach it, and every worker must see the same one.",
        "file://{AIRFLOW_HOME}/mlpipe",
        "s3://ml-artifacts/airflow",
    ),
    "compute_targets": _option(
        "Path of the YAML file that names the compute targets. The target 'local' is there without it. "
        "A relative path starts at AIRFLOW_HOME.",
        "",
        "/opt/airflow/compute_targets.yaml",
    ),
    "environments": _option(
        "Path of the YAML file that names the environments. A relative path starts at AIRFLOW_HOME.",
        "",
        "/opt/airflow/environments.yaml",
    ),
    "work_directory": _option(
        "Folder on the worker in which running steps have their working directories.",
        "{AIRFLOW_HOME}/mlpipe-work",
        "/scratch/mlpipe",
    ),
    "cache_directory": _option(
        "Folder on the worker for what can be made again: file digests, virtual environments.",
        "{AIRFLOW_HOME}/mlpipe-cache",
        "/var/cache/mlpipe",
    ),
    "keep_work_directories": _option(
        "Whether the working directory of a finished step stays, for debugging.", "False", kind="boolean"
    ),
    "verify": _option(
        "What is checked of stored outputs before they are reused: 'size' (every file is there with its "
        "size), 'digest' (every byte is read again) or 'none'.",
        "size",
        "digest",
    ),
    "lease_seconds": _option(
        "How long a worker that stopped giving signs of life keeps others from running the same step. "
        "Clocks of workers may differ by less than this.",
        "60",
        kind="integer",
    ),
}
