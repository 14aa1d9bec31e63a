"""The plugin that Airflow finds by the entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class MLPipePlugin(AirflowPlugin):
    """References in XCom for every DAG, and the web app behind the links of a step."""

    name = "mlpipe"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Let DAGs that only pull our references read them."""
        from airflow_mlpipe.pipeline.xcom import allow_references

        allow_references()

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """A property, so that the app is built in the API server and nowhere else."""
        from airflow_mlpipe.plugins.web import app

        return [{"app": app, "url_prefix": "/mlpipe", "name": "MLPipe"}]
