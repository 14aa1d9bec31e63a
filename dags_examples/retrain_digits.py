"""Retrain two classifiers of handwritten digits every week, and register the better one.

prepare -> train_logistic, train_network (in parallel) -> evaluate -> register, on the UCI digits that come
with scikit-learn. Trigger it twice: the second run reuses every step. Trigger it with another ``lr``: only
the network is trained again, and what follows from it.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from airflow_mlpipe import OutputFileDatasetConfig, PipelineData, PipelineParameter, PythonScriptStep


@dag(
    schedule="@weekly",
    catchup=False,
    tags=["mlpipe", "example"],
    params={
        "lr": Param(0.01, type="number", exclusiveMinimum=0, description="learning rate of the network"),
        "C": Param(
            1.0, type="number", exclusiveMinimum=0, description="inverse regularisation of the logistic"
        ),
    },
    doc_md=__doc__,
)
def retrain_digits() -> None:
    prepared = OutputFileDatasetConfig("prepared")
    logistic, network = PipelineData("logistic"), PipelineData("network")
    report = PipelineData("report")
    registered = OutputFileDatasetConfig("registered")

    PythonScriptStep(
        task_id="prepare",
        source_directory="digits",
        script_name="prepare.py",
        arguments=["--output", prepared, "--test-share", 0.3],
    )
    PythonScriptStep(
        task_id="train_logistic",
        source_directory="digits",
        script_name="train_logistic.py",
        arguments=["--data", prepared.as_input(), "--C", PipelineParameter("C"), "--model", logistic],
    )
    PythonScriptStep(
        task_id="train_network",
        source_directory="digits",
        script_name="train_network.py",
        arguments=["--data", prepared.as_input(), "--lr", PipelineParameter("lr"), "--model", network],
    )
    PythonScriptStep(
        task_id="evaluate",
        source_directory="digits",
        script_name="evaluate.py",
        arguments=[
            "--data",
            prepared.as_input(),
            "--report",
            report,
            logistic.as_input(),
            network.as_input(),
        ],
    )
    PythonScriptStep(
        task_id="register",
        source_directory="digits",
        script_name="register.py",
        arguments=[
            "--report",
            report.as_input(),
            "--registry",
            registered,
            logistic.as_input(),
            network.as_input(),
        ],
    )


retrain_digits()
