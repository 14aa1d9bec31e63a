"""``azureml.core.experiment``: scripts that log without a pipeline start here."""

from __future__ import annotations

from airflow_mlpipe.runtime.refused import Refused
from airflow_mlpipe.runtime.run import Run

from .._stand_in import unknown

__all__ = ["Experiment"]


class Experiment:
    """The experiment of this step, whatever the script calls it."""

    submit = Refused("Airflow starts runs; write a DAG with a PythonScriptStep")
    get_runs = Refused(
        "what other runs logged is no input; a step sees those of its DAG run by get_children()"
    )

    def __init__(self, workspace: object = None, name: str = "", **_of_v1: object) -> None:
        self.workspace = workspace
        self.name = name

    def start_logging(self, *_of_v1: object, **_more_of_v1: object) -> Run:
        """The run of this step."""
        return Run.get_context()


__getattr__ = unknown(__name__)
