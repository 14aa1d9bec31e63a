"""Small pipelines for the system tests, as DAG files with their scripts."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tools.airflow_instance import AirflowInstance

RETRAINING = """
from airflow.sdk import Param, dag, task

from airflow_mlpipe import Dataset, OutputFileDatasetConfig, PipelineData, PipelineParameter, PythonScriptStep


@dag(dag_id="{dag_id}", schedule=None, params={{"lr": Param(0.1, type="number")}})
def pipeline():
    raw = Dataset.File.from_files("{dag_id}/data/raw.txt")
    prepared = OutputFileDatasetConfig("prepared")
    model, report = PipelineData("model"), PipelineData("report")
    source = "{dag_id}/src"
    PythonScriptStep(task_id="prepare", source_directory=source, script_name="prepare.py",
                     arguments=["--raw", raw.as_named_input("raw").as_mount(), "--out", prepared])
    PythonScriptStep(task_id="train", source_directory=source, script_name="train.py",
                     arguments=["--data", prepared.as_input(), "--lr", PipelineParameter("lr"),
                                "--model", model])
    evaluate = PythonScriptStep(task_id="evaluate", source_directory=source, script_name="evaluate.py",
                                arguments=["--model", model.as_input(), "--report", report])

    @task
    def announce(reference):
        print("the report says", reference.open(mode="r").read())
        return reference.name

    announce(evaluate.output["report"])


pipeline()
"""

RETRAINING_SCRIPTS = {
    "prepare.py": """
        import sys
        from pathlib import Path
        from words import cleaned
        Path(sys.argv[4], "words.txt").write_text(cleaned(Path(sys.argv[2]).read_text()))
    """,
    "words.py": """
        def cleaned(text):
            return text.lower()
    """,
    "train.py": """
        import sys
        from pathlib import Path
        from airflow_mlpipe import Run
        words = Path(sys.argv[2], "words.txt").read_text().split()
        Path(sys.argv[6]).write_text(f"{len(words)} words at {sys.argv[4]}")
        Run.get_context().log("words", len(words))
    """,
    "evaluate.py": """
        import sys
        from pathlib import Path
        Path(sys.argv[4]).write_text("report on " + Path(sys.argv[2]).read_text())
    """,
}

ONE_STEP = """
from datetime import timedelta

from airflow.sdk import dag

from airflow_mlpipe import PipelineData, PythonScriptStep


@dag(dag_id="{dag_id}", schedule=None, max_active_runs=8)
def pipeline():
    PythonScriptStep(task_id="work", source_directory="{dag_id}/src", script_name="work.py",
                     arguments=["{signals}", PipelineData("result")], poke_interval=9{options})


pipeline()
"""

# It says that it has begun, and ends when it is told to.
WAITING_SCRIPT = """
    import subprocess, sys, time, uuid
    from pathlib import Path
    signals, result = Path(sys.argv[1]), Path(sys.argv[2])
    child = subprocess.Popen(["sleep", "600"])
    (signals / f"began-{uuid.uuid4().hex}").write_text(str(child.pid))
    print("working", flush=True)
    while not (signals / "finish").exists():
        time.sleep(0.05)
    child.kill()
    result.write_text("done")
"""


def retraining(airflow: AirflowInstance, dag_id: str) -> Path:
    """A pipeline of three steps and a plain task; returns the folder of its scripts and data."""
    folder = airflow.dags_folder / dag_id
    _write(folder / "src", RETRAINING_SCRIPTS)
    _write(folder / "data", {"raw.txt": "One Two Three"})
    _add_dag(airflow, dag_id, RETRAINING.format(dag_id=dag_id))
    return folder


def waiting(airflow: AirflowInstance, dag_id: str, options: str = "") -> Path:
    """A pipeline of one step that waits; returns the folder in which it says that it has begun."""
    folder = airflow.dags_folder / dag_id
    signals = airflow.home / "signals" / dag_id
    signals.mkdir(parents=True)
    _write(folder / "src", {"work.py": WAITING_SCRIPT})
    _add_dag(
        airflow, dag_id, ONE_STEP.format(dag_id=dag_id, signals=signals, options=options and f", {options}")
    )
    return signals


def _add_dag(airflow: AirflowInstance, dag_id: str, text: str) -> None:
    ignored = airflow.dags_folder / ".airflowignore"
    with ignored.open("a") as file:
        file.write(f"{dag_id}/\n")
    (airflow.dags_folder / f"{dag_id}.py").write_text(text)
    airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"))
