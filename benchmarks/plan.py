"""Planning a pipeline in which nothing changed, beside what Airflow needs to read it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Comparison, Report, load
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "unchanged"
FOLDERS = 10

DAG = """\
from airflow.sdk import DAG
from airflow_mlpipe import Dataset, PipelineData, PythonScriptStep

with DAG("{dag_id}", schedule=None, params={{"lr": 0.1}}):
    raw = Dataset.File.from_files("data/")
    previous = [raw.as_named_input("raw").as_mount()] * {folders}
    for n in range({count}):
        chain = n % {folders}
        output = PipelineData(f"data_{{n}}")
        PythonScriptStep(
            task_id=f"task_{{n:03}}",
            source_directory=f"code/{{chain}}",
            script_name=f"step_{{n}}.py",
            arguments=["--lr", "{{{{ params.lr }}}}", "--input", previous[chain], "--output", output],
        )
        previous[chain] = output.as_input()
"""
SCRIPT = """\
import sys
import json
import numpy
from helper import written

written(sys.argv[6], {number})
"""
HELPER = """\
from pathlib import Path

def written(path, number):
    Path(path).write_text(str(number))
"""

Sample = dict[str, Any]  # what plan_probe prints


def measure(folder: Path, *, count: int, rounds: int) -> Report:
    """Run a pipeline of *count* steps once, then plan it *rounds* times, each in a fresh process."""
    shutil.rmtree(folder, ignore_errors=True)
    file = _write_files(folder, count)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONDONTWRITEBYTECODE": "",  # as installed packages, ours are compiled once
    }
    say(f"plan: running {count} steps once")
    _probe(file, environment, "--run")
    samples: list[Sample] = []
    commands: dict[str, list[float]] = {"plan": [], "version": []}
    loads = []
    for number in range(rounds + 1):
        sample = _probe(file, environment)
        if sample["reuse"] != count:
            raise RuntimeError(f"{sample['reuse']} of {count} unchanged steps would be reused")
        planned = _command(environment, "mlpipe", "plan", DAG_ID, "--dag-file", str(file), "-o", "json")
        version = _command(environment, "version")
        if number > 0:  # the first one warms the disk's cache
            samples.append(sample)
            commands["plan"].append(planned)
            commands["version"].append(version)
            loads.append(load())
    say(f"planned {count} steps {rounds} times")
    return Report(
        name="plan",
        settings={"steps": count, "rounds": rounds, "source_folders": FOLDERS, "load_average": loads},
        comparisons=_comparisons(samples, commands),
    )


def _comparisons(samples: Sequence[Sample], commands: dict[str, list[float]]) -> list[Comparison]:
    def values(value: Callable[[Sample], float]) -> list[float]:
        return [value(sample) for sample in samples]

    read = values(lambda sample: sample["import"] + sample["parse"])
    planned = values(lambda sample: sample["plan_import"] + sample["plan"])
    return [
        Comparison("plan, nothing changed", "one second", "s", planned, [1.0] * len(planned), 1.0),
        Comparison("plan, nothing changed", "Airflow's import and the parse", "s", planned, read),
        Comparison("plan as a command", "airflow version", "s", commands["plan"], commands["version"]),
    ]


def _write_files(folder: Path, count: int) -> Path:
    dags = folder / "dags"
    (dags / "data").mkdir(parents=True)
    for number in range(100):
        (dags / "data" / f"part_{number}.csv").write_text(f"{number}\n" * 1000)
    for number in range(FOLDERS):
        (dags / "code" / str(number)).mkdir(parents=True)
        (dags / "code" / str(number) / "helper.py").write_text(HELPER)
        (dags / "code" / str(number) / "settings.json").write_text("{}")
    for number in range(count):
        script = dags / "code" / str(number % FOLDERS) / f"step_{number}.py"
        script.write_text(SCRIPT.format(number=number))
    file = dags / "unchanged.py"
    file.write_text(DAG.format(dag_id=DAG_ID, count=count, folders=FOLDERS))
    return file


def _probe(file: Path, environment: dict[str, str], *options: str) -> Sample:
    command = [sys.executable, "-m", "benchmarks.plan_probe", str(file), *options]
    # Airflow may log to standard output; the report is the last line.
    sample: Sample = json.loads(_output(command, environment).splitlines()[-1])
    return sample


def _command(environment: dict[str, str], *arguments: str) -> float:
    """The seconds that ``airflow`` takes, from start to end."""
    started = time.perf_counter()
    _output([str(Path(sys.executable).with_name("airflow")), *arguments], environment)
    return time.perf_counter() - started


def _output(command: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout
