"""A chain of tasks that each write a small JSON file in a process of their own, and hand its path on."""

import os
import sys

from airflow.sdk import DAG, task

with DAG("external_python"):
    # Without a look for Airflow in the other interpreter, which would cost an import of it for each task.
    @task.external_python(python=sys.executable, expect_airflow=False)
    def write(number, output, previous=None):
        import json
        from pathlib import Path

        count = 0 if previous is None else json.loads(Path(previous).read_text())["number"]
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(json.dumps({"number": number, "previous": count}))
        return output

    path = None
    for n in range(int(os.environ["BENCHMARK_LENGTH"])):
        output = f"{os.environ['BENCHMARK_FOLDER']}/{n}.json"
        path = write.override(task_id=f"task_{n:02}")(n, output, path)
