"""Scripts of SDK v1 of which no line is changed: train two models, compare them, register the better one.

They import ``azureml.core``, and find a stand-in for it. What a script asks for by name, its step declares.
"""

from __future__ import annotations

from airflow.sdk import dag

from airflow_mlpipe import Dataset, PipelineData, PythonScriptStep


@dag(schedule=None, tags=["mlpipe", "example"], doc_md=__doc__)
def v1_unmodified() -> None:
    flowers = Dataset.File.from_files("introduction/data/iris.csv")
    models = [PipelineData("petal"), PipelineData("sepal")]
    for model in models:
        PythonScriptStep(
            name=f"train_{model.name}",
            script_name="train.py",
            source_directory="unmodified",
            inputs=[flowers.as_named_input("flowers")],
            arguments=["--columns", model.name, "--model_dir", model],
            outputs=[model],
        )
    PythonScriptStep(
        name="register_best",
        script_name="register_best.py",
        source_directory="unmodified",
        inputs=[model.as_input(model.name) for model in models],
        arguments=["--model_name", "flowers"],
    )


v1_unmodified()
