"""A chain of steps that each write a small JSON file, and hand it on."""

import os

from airflow.sdk import DAG

from airflow_mlpipe import PipelineData, PythonScriptStep

with DAG("steps"):
    previous: list[object] = []
    for n in range(int(os.environ["BENCHMARK_LENGTH"])):
        output = PipelineData(f"count_{n}")
        PythonScriptStep(
            task_id=f"task_{n:02}",
            source_directory="step",
            script_name="write.py",
            arguments=[n, output, *previous],
        )
        previous = [output.as_input()]
