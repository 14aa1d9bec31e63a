"""The plugin that Airflow finds by the entry point ``airflow.plugins``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow.plugins_manager import AirflowPlugin

_NEEDED_BY_EVERY_STEP = ("airflow_mlpipe.operators.python_script", "airflow_mlpipe.pipeline.step_run")


class MLPipePlugin(AirflowPlugin):
    """References in XCom for every DAG, and the web app behind the links of a step."""

    name = "mlpipe"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Let DAGs that only pull our references read them, and have ready what every step imports.

        Airflow loads plugins in the processes from which it forks those that parse a DAG file or run a task.
        What is imported here, they need not import each for itself.
        """
        from airflow_mlpipe.pipeline.xcom import allow_references

        allow_references()
        for module in _NEEDED_BY_EVERY_STEP:
            import_module(module)

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A property, so that the app is built in the API server and nowhere else."""
        from airflow_mlpipe.plugins.web import app

        return [{"app": app, "url_prefix": "/mlpipe", "name": "MLPipe"}]
