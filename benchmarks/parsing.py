"""Parsing a DAG file of many steps beside one of as many of Airflow's tasks, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class DagFile:
    """A file with one DAG of ``tasks`` tasks; ``module`` is what it imports besides Airflow's SDK."""

    path: Path
    module: str
    tasks: int


def measure(folder: Path, *, count: int, rounds: int) -> Report:
    """Parse each file *rounds* times in turns, after once to warm the disk's cache."""
    return report_on("parsing", _write_files(folder, count), _comparisons, folder, rounds)


def report_on(
    name: str,
    files: Mapping[str, DagFile],
    comparisons: Callable[[Mapping[str, Sequence[Sample]]], Iterable[Comparison]],
    folder: Path,
    rounds: int,
) -> Report:
    """The same for any *files* below *folder*, whose samples by name *comparisons* compares."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONDONTWRITEBYTECODE": "",  # as installed packages, ours are compiled once
    }
    samples: dict[str, list[Sample]] = {kind: [] for kind in files}
    loads = []
    for number in range(rounds + 1):
        for kind, file in files.items():
            sample = _probe(file, environment)
            if sample["tasks"] != file.tasks:
                raise RuntimeError(f"{file.path} was parsed to {sample['tasks']} tasks, not {file.tasks}")
            if number > 0:
                samples[kind].append(sample)
                loads.append(load())
    say(f"parsed each of {', '.join(files)} {rounds} times")
    watched = {kind: _probe(file, environment, "--watch") for kind, file in files.items()}
    return Report(
        name=name,
        settings={"tasks": next(iter(files.values())).tasks, "rounds": rounds, "load_average": loads},
        comparisons=list(comparisons(samples)),
        details={f"{kind} while parsing": sample["seen"] for kind, sample in watched.items()},
    )


def _write_files(folder: Path, count: int) -> dict[str, DagFile]:
    dags = folder / "dags"
    (dags / "code").mkdir(parents=True, exist_ok=True)
    (dags / "code" / "step.py").write_text("import sys\nprint(sys.argv)\n")
    files = {}
    for operator, module in MODULES.items():
        text = STEPS if operator == "PythonScriptStep" else BASH
        files[operator] = DagFile(dags / f"{operator}.py", module, count)
        files[operator].path.write_text(text.format(count=count, module=module, operator=operator))
    return files


def _probe(file: DagFile, environment: dict[str, str], *options: str) -> Sample:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.parse_probe", str(file.path), file.module, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{file.path} cannot be parsed:\n{done.stderr}")
    # Airflow may log to standard output; the report is the last line.
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample


def _comparisons(samples: Mapping[str, Sequence[Sample]]) -> Iterator[Comparison]:
    ours, bash, sensor = (samples[name] for name in ("PythonScriptStep", "BashOperator", "BashSensor"))
    yield from compared(ours, bash, "BashOperator", aim=1.3)
    yield next(compared(ours, sensor, "BashSensor"))


def compared(
    ours: Sequence[Sample], theirs: Sequence[Sample], baseline: str, aim: float | None = None
) -> Iterator[Comparison]:
    """What parsing costs, *aim* being that of the first two: with the imports made before, and with them."""

    def compare(
        name: str, unit: str, value: Callable[[Sample], float], aim: float | None = None
    ) -> Comparison:
        return Comparison(name, baseline, unit, [value(s) for s in ours], [value(s) for s in theirs], aim)

    yield compare("parse, imported before", "s", lambda sample: sample["parse"], aim)
    yield compare("parse, with imports", "s", lambda sample: sample["import"] + sample["parse"], aim)
    yield compare("process start to parsed", "s", lambda sample: sample["since_start"])
    yield compare("parse and serialize", "s", lambda sample: sample["parse"] + sample["serialize"])
    yield compare("imports alone", "s", lambda sample: sample["import"])
    yield compare("peak memory, with imports", "MiB", lambda sample: _memory(sample, "import", "parse"))
    yield compare("peak memory, parse alone", "MiB", lambda sample: _memory(sample, "parse"))


def _memory(sample: Sample, *phases: str) -> float:
    """By how much the phases raised the peak of the process's memory, in MiB."""
    return sum(float(sample[f"{phase}_memory"]) for phase in phases) / MIB
