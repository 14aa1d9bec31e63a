"""Parsing a DAG file of many steps beside one of as many of Airflow's tasks, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Comparison, Report, load
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20

Sample = dict[str, Any]  # what parse_probe prints

STEPS = """\
from airflow.sdk import DAG
from airflow_mlpipe import PipelineData, PythonScriptStep

with DAG("steps"):
    previous = []
    for n in range({count}):
        output = PipelineData(f"data_{{n}}")
        PythonScriptStep(
            task_id=f"task_{{n:03}}", source_directory="code", script_name="step.py",
            arguments=["--number", n, "--output", output, *previous],
        )
        previous = [output.as_input()]
"""
BASH = """\
from airflow.sdk import DAG, chain
from {module} import {operator}

with DAG("bash"):
    chain(*(
        {operator}(task_id=f"task_{{n:03}}", bash_command=f"python code/step.py --number {{n}}")
        for n in range({count})
    ))
"""
MODULES = {
    "PythonScriptStep": "airflow_mlpipe.operators.python_script",
    "BashOperator": "airflow.providers.standard.operators.bash",
    "BashSensor": "airflow.providers.standard.sensors.bash",
}


def measure(folder: Path, *, count: int, rounds: int) -> Report:
    """Parse each file *rounds* times in turns, after once to warm the disk's cache."""
    files = _write_files(folder, count)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONDONTWRITEBYTECODE": "",  # as installed packages, ours are compiled once
    }
    samples: dict[str, list[Sample]] = {name: [] for name in files}
    loads = []
    for number in range(rounds + 1):
        for name, file in files.items():
            sample = _probe(file, MODULES[name], environment)
            if sample["tasks"] != count:
                raise RuntimeError(f"{file} was parsed to {sample['tasks']} tasks instead of {count}")
            if number > 0:
                samples[name].append(sample)
                loads.append(load())
    say(f"parsed {count} tasks of each kind {rounds} times")
    watched = {name: _probe(file, MODULES[name], environment, "--watch") for name, file in files.items()}
    return Report(
        name="parsing",
        settings={"tasks": count, "rounds": rounds, "load_average": loads},
        comparisons=list(_comparisons(samples)),
        details={f"{name} while parsing": sample["seen"] for name, sample in watched.items()},
    )


def _write_files(folder: Path, count: int) -> dict[str, Path]:
    dags = folder / "dags"
    (dags / "code").mkdir(parents=True, exist_ok=True)
    (dags / "code" / "step.py").write_text("import sys\nprint(sys.argv)\n")
    files = {}
    for operator, module in MODULES.items():
        text = STEPS if operator == "PythonScriptStep" else BASH
        files[operator] = dags / f"{operator}.py"
        files[operator].write_text(text.format(count=count, module=module, operator=operator))
    return files


def _probe(file: Path, module: str, environment: dict[str, str], *options: str) -> Sample:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.parse_probe", str(file), module, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{file} cannot be parsed:\n{done.stderr}")
    # Airflow may log to standard output; the report is the last line.
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample


def _comparisons(samples: Mapping[str, Sequence[Sample]]) -> Iterator[Comparison]:
    def compare(
        name: str,
        unit: str,
        value: Callable[[Sample], float],
        aim: float | None = None,
        baseline: str = "BashOperator",
    ) -> Comparison:
        ours, theirs = samples["PythonScriptStep"], samples[baseline]
        return Comparison(name, baseline, unit, [value(s) for s in ours], [value(s) for s in theirs], aim)

    yield compare("parse, with imports", "s", lambda sample: sample["import"] + sample["parse"], 1.3)
    yield compare("parse, imported before", "s", lambda sample: sample["parse"], 1.3)
    yield compare("parse, imported before", "s", lambda sample: sample["parse"], baseline="BashSensor")
    yield compare("process start to parsed", "s", lambda sample: sample["since_start"])
    yield compare("parse and serialize", "s", lambda sample: sample["parse"] + sample["serialize"])
    yield compare("imports alone", "s", lambda sample: sample["import"])
    yield compare("peak memory, with imports", "MiB", lambda sample: _memory(sample, "import", "parse"))
    yield compare("peak memory, parse alone", "MiB", lambda sample: _memory(sample, "parse"))


def _memory(sample: Sample, *phases: str) -> float:
    """By how much the phases raised the peak of the process's memory, in MiB."""
    return sum(float(sample[f"{phase}_memory"]) for phase in phases) / MIB
