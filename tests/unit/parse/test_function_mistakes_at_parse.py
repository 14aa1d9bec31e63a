"""Mistakes in functions as steps, and in calls of them, that are import errors of their DAG file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

HEADER = """
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from airflow.sdk import DAG, Variable, task
from airflow_mlpipe import (
    Dataset, DockerTarget, Environment, LocalTarget, Output, PipelineData, PipelineParameter,
    PythonScriptStep, step,
)

@step
def prepare(rows: int = 10) -> list[int]:
    return list(range(rows))

@step
def train(data: list[int], model: Output[Path], lr: float = 0.1) -> dict[str, Any]:
    model.write_text(str(lr))
    return {"rows": len(data)}

PIPELINE = DAG("pipeline", params={"lr": 0.1})
"""

# File name: what stands in it below the header, and what the author reads in Airflow's list of import errors.
FUNCTIONS = {
    "lambda": (
        """
        with PIPELINE:
            step(lambda number: 2 * number)(1)
        """,
        ["<lambda>", "def"],
    ),
    "closure": (
        """
        def pipeline(rows):
            @step
            def prepare() -> int:
                return rows
            prepare()
        with PIPELINE:
            pipeline(3)
        """,
        ["step 'prepare'", "'rows'", "pipeline()", "pass it as a parameter"],
    ),
    "method": (
        """
        class Steps:
            @step
            def prepare(self):
                return 1
        with PIPELINE:
            Steps.prepare(None)
        """,
        ["@step decorates Steps.prepare, a method", "make it a function"],
    ),
    "async_function": (
        """
        @step
        async def prepare():
            return 1
        with PIPELINE:
            prepare()
        """,
        ["step 'prepare'", "async"],
    ),
    "generator": (
        """
        @step
        def prepare():
            yield 1
        with PIPELINE:
            prepare()
        """,
        ["step 'prepare'", "generator", "yield"],
    ),
    "no_source": (
        """
        written = {}
        exec("def prepare(): return 1", written)
        with PIPELINE:
            step(written["prepare"])()
        """,
        ["step 'prepare'", "source", "define it in a file"],
    ),
    "class": (
        """
        @step
        class Prepare:
            pass
        with PIPELINE:
            Prepare()
        """,
        ["step 'Prepare'", "Prepare", "def"],
    ),
    "builtin": (
        """
        with PIPELINE:
            step(len)([1])
        """,
        ["step 'len'", "<built-in function len>", "def"],
    ),
    "partial_object": (
        """
        with PIPELINE:
            step(functools.partial(print, 1))()
        """,
        ["functools.partial", "def"],
    ),
    "text": (
        '@step("prepare")\ndef prepare():\n    return 1',
        ["@step decorates a function, not 'prepare'", "give options by name"],
    ),
    "twice": (
        """
        @step
        @step
        def prepare():
            return 1
        with PIPELINE:
            prepare()
        """,
        ["prepare is decorated twice", "keep one"],
    ),
    "task_and_step": (
        """
        @step
        @task
        def prepare():
            return 1
        with PIPELINE:
            prepare()
        """,
        ["prepare is decorated twice, by @step and by another @step or @task", "keep one"],
    ),
    "context_name": (
        """
        @step
        def prepare(ds):
            return ds
        with PIPELINE:
            prepare("2026-01-01")
        """,
        ["step 'prepare': parameter 'ds'", "Airflow's context", "my_ds='{{ ds }}'"],
    ),
    "any_positional": (
        """
        @step
        def prepare(*rows):
            return rows
        with PIPELINE:
            prepare(1, 2)
        """,
        ["step 'prepare'", "*rows", "name them"],
    ),
    "any_keywords": (
        """
        @step
        def prepare(**options):
            return options
        with PIPELINE:
            prepare(rows=1)
        """,
        ["step 'prepare'", "**options", "name them"],
    ),
    "positional_only": (
        """
        @step
        def prepare(rows, /):
            return rows
        with PIPELINE:
            prepare(1)
        """,
        ["step 'prepare'", "'rows'", "positional only"],
    ),
    "output_of_no_path": (
        """
        @step
        def prepare(rows: Output[int]):
            pass
        with PIPELINE:
            prepare()
        """,
        ["step 'prepare': output 'rows' is annotated Output[int]", "annotate Output[Path]"],
    ),
    "taken_output": (
        """
        @step
        def prepare(metrics: Output[Path]):
            metrics.write_text("")
        with PIPELINE:
            prepare()
        """,
        ["step 'prepare': output name 'metrics' is taken", "'metrics_data'"],
    ),
    "output_and_field": (
        """
        class Fitted(NamedTuple):
            model: str
        @step
        def fit(model: Output[Path]) -> Fitted:
            return Fitted("m")
        with PIPELINE:
            fit()
        """,
        ["step 'fit': 'model' would be written twice", "rename one of them"],
    ),
    "taken_field": (
        """
        @dataclass
        class Fitted:
            metrics: float
        @step
        def fit() -> Fitted:
            return Fitted(0.5)
        with PIPELINE:
            fit()
        """,
        ["step 'fit': the returned field 'metrics' has a name that is taken; rename it"],
    ),
    "field_that_is_no_name": (
        """
        Fitted = TypedDict("Fitted", {"area under curve": float})
        @step
        def fit() -> Fitted:
            return {"area under curve": 0.5}
        with PIPELINE:
            fit()
        """,
        ["field name 'area under curve' is not valid", "letters, digits and underscores"],
    ),
    "pipeline_object_in_the_body": (
        """
        RAW = Dataset.File.from_files("raw/")
        @step
        def fit():
            return str(RAW)
        with PIPELINE:
            fit()
        """,
        ["step 'fit'", "'RAW'", "Dataset", "pass it as a parameter"],
    ),
    "airflow_in_the_body": (
        """
        @step
        def fit():
            return Variable.get("rows")
        with PIPELINE:
            fit()
        """,
        ["step 'fit'", "'Variable'", "Airflow"],
    ),
    "airflow_in_a_helper": (
        """
        def rows():
            return Variable.get("rows")
        @step
        def fit():
            return rows()
        with PIPELINE:
            fit()
        """,
        ["step 'fit'", "Variable", "Airflow"],
    ),
    "file_beside_the_dag": (
        """
        HERE = Path(__file__).parent
        @step
        def fit():
            return (HERE / "rows.csv").read_text()
        with PIPELINE:
            fit()
        """,
        ["step 'fit'", "__file__", "source_directory"],
    ),
}

CALLS = {
    "unknown_keyword": (
        "train(data=[1], rate=0.5)",
        ["step 'train' is called with rate=..., but its parameters are: data, lr"],
    ),
    "missing_argument": ("train(lr=0.5)", ["step 'train' is called without data; pass a value for it"]),
    "too_many_arguments": (
        "train([1], 0.5, 3)",
        ["step 'train' cannot be called like that: too many positional arguments", "data, lr"],
    ),
    "argument_twice": (
        "train([1], data=[2])",
        ["step 'train' cannot be called like that: multiple values for argument 'data'"],
    ),
    "passed_output": (
        'train([1], model="model.txt")',
        ["step 'train' is called with model=..., which is an output", "['model']", "leave it out"],
    ),
    "partial_with_output": (
        'train.partial(model="model.txt").expand(data=[[1]])',
        ["step 'train'", "model=..., which is an output"],
    ),
    "expanded_output": (
        'train.expand(data=[[1]], model=["model.txt"])',
        ["step 'train'", "model=..., which is an output"],
    ),
    "expanded_unknown": (
        "train.partial(data=[1]).expand(rate=[0.1, 0.2])",
        ["step 'train'", "rate=..., but its parameters are: data, lr"],
    ),
    "expanded_without_an_argument": ("train.expand(lr=[0.1])", ["step 'train' is called without data"]),
    "expanded_with_a_wrong_type": (
        'train.partial(data=[1]).expand(lr=[0.1, "fast"])',
        ["step 'train': parameter 'lr' is 'fast'; the function asks for float"],
    ),
    "expanded_with_a_wrong_dict": (
        'train.expand_kwargs([{"data": [1]}, {"data": [1], "rate": 2}])',
        ["step 'train' is expanded with rate=..., but its parameters are: data, lr"],
    ),
    "expanded_over_a_number": (
        "train.expand(data=3)",
        ["step 'train' is expanded over data=3", "lists", "partial()"],
    ),
    "expanded_over_a_text": (
        'train.expand(data="abc")',
        ["step 'train' is expanded over data='abc'", "lists", "partial()"],
    ),
    "expanded_over_nothing": (
        "train.expand(data=[])",
        ["step 'train' is mapped over data, which is empty", "leave the step out"],
    ),
    "expanded_over_no_dicts": (
        "train.expand_kwargs([])",
        ["step 'train' is mapped over kwargs, which is empty", "leave the step out"],
    ),
    "wrong_type": (
        'train([1], lr="fast")',
        ["step 'train': parameter 'lr' is 'fast'; the function asks for float"],
    ),
    "wrong_type_within": (
        'train([1, "two"])',
        ["step 'train': parameter 'data' is [1, 'two']; the function asks for list[int]", "[1]"],
    ),
    "text_for_a_path": (
        """
        @step
        def count(rows: Path) -> int:
            return len(rows.read_text())
        with PIPELINE:
            count("rows.csv")
        """,
        [
            "step 'count': parameter 'rows' is a path and was given 'rows.csv'",
            "Dataset.File.from_files('rows.csv')",
        ],
    ),
    "an_object": (
        "train(object())",
        ["step 'train': parameter 'data' is <object object at", "of type object", "pass JSON values"],
    ),
    "a_set": ("train({1, 2})", ["step 'train': parameter 'data' is {1, 2} of type set", "pass JSON values"]),
    "bytes": (
        'train([b"12"])',
        ["step 'train': parameter 'data'[0] is b'12' of type bytes", "pass JSON values"],
    ),
    "not_a_number": (
        'train([1], lr=float("nan"))',
        ["step 'train': parameter 'lr' is nan, which JSON does not have"],
    ),
    "number_as_a_key": (
        """
        @step
        def choose(options: dict[str, int]) -> int:
            return 1
        with PIPELINE:
            choose({1: 2})
        """,
        ["step 'choose': parameter 'options' has the key 1 of type int; keys must be texts"],
    ),
    "the_step_itself": (
        "train(prepare)",
        ["step 'train': parameter 'data' is prepare itself, which was not called; pass prepare(...)"],
    ),
    "a_function": (
        "train(print)",
        ["step 'train': parameter 'data' is <built-in function print>", "pass JSON values"],
    ),
    "undeclared_parameter": (
        'train(data=[1], lr=PipelineParameter("rate"))',
        ["step 'train' uses PipelineParameter('rate'), which the DAG does not declare (its params: lr)"],
    ),
    "data_that_nobody_makes": (
        'train(PipelineData("rows"))',
        ["step 'train' reads 'rows', which no step of the DAG produces"],
    ),
    "mapped_data_that_nobody_makes": (
        'train.partial(lr=0.5).expand(data=[PipelineData("rows")])',
        ["step 'train' reads 'rows', which no step of the DAG produces"],
    ),
    "two_steps_of_one_output": (
        """
        model = PipelineData("model")
        with PIPELINE:
            for task_id in ("first", "second"):
                PythonScriptStep(task_id=task_id, source_directory="code", script_name="train.py",
                                 outputs=[model])
        """,
        ["output 'model' is produced twice: by step 'first' and by step 'second'"],
    ),
    "unknown_option": (
        "train.override(compute_taget='gpu')([1])",
        ["compute_taget"],
    ),
    "unknown_option_of_a_mapped_step": (
        "train.override(compute_taget='gpu').expand(data=[[1]])",
        ["compute_taget"],
    ),
    "unknown_target": (
        "train.override(compute_target='tpu')([1])",
        ["compute target 'tpu' is not known", "set it to a YAML file"],
    ),
    "unknown_target_of_a_mapped_step": (
        "train.override(compute_target='tpu').expand(data=[[1]])",
        ["compute target 'tpu' is not known", "set it to a YAML file"],
    ),
    "no_image_for_a_mapped_step": (
        "train.override(compute_target=DockerTarget()).expand(data=[[1]])",
        ["step 'train': its environment names no image, nor does compute target 'docker'"],
    ),
    "listed_outputs": (
        'train.override(outputs=[PipelineData("report")])([1])',
        ["step 'train'", "outputs", "Output[Path]"],
    ),
    "listed_inputs": (
        'train.override(inputs=[Dataset.File.from_files("raw/")])([1])',
        ["step 'train'", "inputs", "parameter"],
    ),
    "command_line_arguments": (
        'train.override(arguments=["--lr", 1])([1])',
        ["step 'train'", "arguments", "parameter"],
    ),
    "arguments_of_a_mapped_step": (
        'train.override(arguments=["--lr", 1]).expand(data=[[1]])',
        ["step 'train'", "arguments", "parameter"],
    ),
    "short_pauses": (
        "train.override(poke_interval=8)([1])",
        ["step 'train': poke_interval=8 is too short for mode='reschedule'"],
    ),
    "missing_source_directory": (
        "train.override(source_directory='cod')([1])",
        ["step 'train': source_directory 'cod' is not a folder"],
    ),
    "result_that_the_step_does_not_have": (
        'train(prepare()["lines"])',
        ["step 'prepare' has no result 'lines'", "only what the function returns", "'-> dict'"],
    ),
}

MISTAKES = {**FUNCTIONS, **CALLS}


def text_of(name: str) -> str:
    body = textwrap.dedent(MISTAKES[name][0]).strip()
    if name in CALLS and "PIPELINE" not in body:
        body = f"with PIPELINE:\n    {body}"
    return f"{HEADER.replace('pipeline', name)}\n{body}\n"


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Airflow's import errors by file name."""
    folder = tmp_path_factory.mktemp("bundle").resolve()
    dags = folder / "dags"
    (dags / "code").mkdir(parents=True)
    (dags / "code" / "train.py").touch()
    (dags / ".airflowignore").write_text("code/\n")
    for name in MISTAKES:
        (dags / f"{name}.py").write_text(text_of(name))
    (dags / "no_mistake.py").write_text(f"{HEADER}\nwith PIPELINE:\n    train(prepare(), lr=1)\n")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("probe.py")), str(dags)],
        env={**os.environ, "AIRFLOW_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found: dict[str, str] = report["errors"]
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_at_parse_in_one_sentence(errors: dict[str, str], name: str) -> None:
    assert name in errors, "the file was imported"
    sentence = errors[name].strip().splitlines()[-1]
    for words in MISTAKES[name][1]:
        assert words in sentence


def test_a_file_without_a_mistake_beside_them_is_imported(errors: dict[str, str]) -> None:
    assert "no_mistake" not in errors
