"""The three steps with which the SDK v1 manual introduced pipelines: prepare data, train, score.

The scripts are as v1 had them: inputs by name, outputs by argument, metrics by ``run.log``.
"""

from __future__ import annotations

from airflow.sdk import dag

from airflow_mlpipe import Dataset, OutputFileDatasetConfig, PipelineData, PipelineParameter, PythonScriptStep


@dag(schedule=None, tags=["mlpipe", "example"], doc_md=__doc__)
def v1_introduction() -> None:
    raw_data = Dataset.File.from_files("introduction/data/iris.csv")
    prepped_data = OutputFileDatasetConfig("prepped_data")
    model, scores = PipelineData("model"), PipelineData("scores")

    PythonScriptStep(
        name="prep_data",
        script_name="dataprep.py",
        source_directory="introduction/prep",
        inputs=[raw_data.as_named_input("raw_data").as_mount()],
        arguments=[
            "--prepped_data",
            prepped_data,
            "--holdout",
            PipelineParameter("holdout", default_value=5),
        ],
    )
    PythonScriptStep(
        name="train_model",
        script_name="train.py",
        source_directory="introduction/train",
        arguments=["--prepped_data", prepped_data.as_input("prepped_data"), "--model", model],
        outputs=[model],
    )
    PythonScriptStep(
        name="score_model",
        script_name="score.py",
        source_directory="introduction/score",
        arguments=["--model", model, "--scores", scores],
        inputs=[model, prepped_data.as_input("prepped_data")],
        outputs=[scores],
    )


v1_introduction()
