"""Mistakes in functions as steps that only a run shows: each is told in a sentence, and nothing is sealed."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from airflow.sdk.log import mask_secret

from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

HEADER = """
import os, signal, sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from airflow.sdk import DAG, Param, task
from airflow_mlpipe import (
    Dataset, Environment, Input, Output, Pickle, PipelineData, PipelineParameter, PythonScriptStep, step,
)

PIPELINE = DAG("{dag_id}", schedule=None, params={{"lr": Param(0.1)}})

"""

# What the DAG file says below its header, the task that fails, and words of the sentence that it fails with.
ARGUMENTS = {
    "an_xcom_of_a_wrong_type": (
        """
        @task
        def choose():
            return "fast"
        @step
        def make(lr: float) -> float:
            return lr
        with PIPELINE:
            make(choose())
        """,
        ["step 'make': parameter 'lr' is 'fast'; the function asks for float"],
    ),
    "an_item_of_a_wrong_type_in_an_xcom": (
        """
        @task
        def choose():
            return {"depths": [1, 2, "three"]}
        @step
        def make(options: dict[str, list[int]]) -> int:
            return 1
        with PIPELINE:
            make(choose())
        """,
        ["step 'make': parameter 'options' is {'depths': [1, 2, 'three']}", "['depths'][2]"],
    ),
    "a_template_where_a_number_is_asked_for": (
        """
        @step
        def make(lr: float) -> float:
            return lr
        with PIPELINE:
            make("{{ params.lr }}")
        """,
        ["step 'make': parameter 'lr' is '0.1'; the function asks for float"],
    ),
    "an_xcom_that_is_no_json": (
        """
        @task
        def choose():
            from datetime import timedelta
            return timedelta(days=1)
        @step
        def make(age) -> int:
            return 1
        with PIPELINE:
            make(choose())
        """,
        ["step 'make': parameter 'age' is datetime.timedelta(days=1) of type timedelta", "pass JSON values"],
    ),
    "a_text_where_data_is_asked_for": (
        """
        @task
        def choose():
            return "/data/rows.csv"
        @step
        def make(rows: Path) -> int:
            return 1
        with PIPELINE:
            make(choose())
        """,
        [
            "step 'make': parameter 'rows' is a path and was given '/data/rows.csv'",
            "Dataset.File.from_files(",
        ],
    ),
    "data_where_a_number_is_asked_for": (
        """
        @step
        def write(rows: Output[Path]) -> None:
            rows.write_text("1")
        @step
        def make(rows: int) -> int:
            return rows
        with PIPELINE:
            make(write())
        """,
        [
            "make cannot be given its parameter 'rows'",
            "it is a file",
            "not of type int",
            "annotate it as Path",
        ],
    ),
    "an_artifact_of_another_type": (
        """
        @step
        def write():
            return b"1 2 3"
        @step
        def make(rows: dict[str, int]) -> int:
            return 1
        with PIPELINE:
            make(write())
        """,
        ["make cannot be given its parameter 'rows'", "bytes", "dict"],
    ),
    "a_pickle_that_nobody_asked_for": (
        """
        @step
        def write() -> Pickle[Any]:
            return {1, 2, 3}
        @step
        def make(rows: set) -> int:
            return len(rows)
        with PIPELINE:
            make(write())
        """,
        ["make cannot be given its parameter 'rows'", "Pickle["],
    ),
    "a_result_that_is_not_there": (
        """
        @step
        def write() -> dict:
            return {"rows": 1}
        @step
        def make(rows: int) -> int:
            return rows
        with PIPELINE:
            make(write()["lines"])
        """,
        ["result from write", 'key="lines" is not found'],
    ),
    "a_parameter_of_a_wrong_type": (
        """
        @step
        def make(lr: int) -> int:
            return lr
        with PIPELINE:
            make(PipelineParameter("lr"))
        """,
        ["step 'make': parameter 'lr' is 0.1; the function asks for int"],
    ),
    "expanded_with_names_that_the_function_does_not_have": (
        """
        @task
        def calls():
            return [{"rate": 1}]
        @step
        def make(lr: int) -> int:
            return lr
        with PIPELINE:
            make.expand_kwargs(calls())
        """,
        ["step 'make' is called with rate=..., but its parameters are: lr"],
    ),
    "expanded_with_too_few_names": (
        """
        @task
        def calls():
            return [{}]
        @step
        def make(lr: int) -> int:
            return lr
        with PIPELINE:
            make.expand_kwargs(calls())
        """,
        ["step 'make' is called without lr"],
    ),
    "a_dataset_that_is_not_there": (
        """
        @step
        def make(rows: Path) -> int:
            return 1
        with PIPELINE:
            make(Dataset.File.from_files("nowhere/"))
        """,
        ["rows", "nowhere"],
    ),
}

# A function: its annotation, what it returns, and words of the sentence that its task fails with.
RESULTS = {
    "an_object": ("-> Any", "object()", ["what an_object returned", "Output[Path]", "register_artifact"]),
    "a_function": ("-> Any", "print", ["what a_function returned", "builtin_function_or_method"]),
    "a_hidden_object": ("-> dict", '{"a": 1, "b": object()}', ["what a_hidden_object returned under 'b'"]),
    "a_deep_object": ("-> list", '[{"a": [object()]}]', ["what a_deep_object returned", "[0]['a'][0]"]),
    "not_a_number": ("-> float", 'float("nan")', ["what not_a_number returned", "nan", "None"]),
    "a_number_as_a_key": ("-> dict", "{1: 2}", ["a_number_as_a_key returned the key 1"]),
    "an_empty_key": ("-> dict", '{"": 2}', ["an_empty_key returned the key ''"]),
    "a_taken_key": ("-> dict", '{"metrics": 2}', ["a_taken_key returned the key 'metrics'", "another name"]),
    "a_bad_key": ("-> dict", '{"a/b": b"1"}', ["what a_bad_key returned under 'a/b'", "letters, digits"]),
    "a_key_twice": ("-> dict", '{"made": 1}', ["'made' is written twice", "a_key_twice", "another name"]),
    "no_mapping": (
        "-> dict",
        "[1, 2]",
        ["no_mapping returned is of type list", "multiple_outputs=False"],
    ),
    "nothing_at_all": (
        "-> dict",
        "None",
        ["nothing_at_all returned is of type NoneType", "a dict"],
    ),
    "no_fields": ("-> Fitted", "1", ["what no_fields returned is of type int", "a NamedTuple"]),
    "other_fields": ("-> Fitted", '{"score": 1}', ["other_fields returned 'score'", "'rank', 'score'"]),
    "a_generator": ("-> Any", "(row for row in [1])", ["a_generator returned a generator", "return a list"]),
    "a_coroutine": ("-> Any", "later()", ["a_coroutine returned a coroutine", "asyncio.run"]),
}

# A function: the statement that it is, and words of the sentence that its task fails with.
ENDS = {
    "an_exception": ('raise ValueError("no rows")', ["ValueError: no rows", "in an_exception", "code 1"]),
    "an_exit": ("sys.exit(3)", ["step 'an_exit': its own code failed: exited with code 3"]),
    "a_last_word": (
        'sys.exit("no rows left")',
        ["step 'a_last_word': its own code failed: exited with code 1", "no rows left"],
    ),
    "an_early_exit": (
        "sys.exit(0)",
        ["step 'an_early_exit': the process ended well before"],
    ),
    "an_end_in_silence": ("os._exit(0)", ["step 'an_end_in_silence'", "let the function return"]),
    "a_kill": (
        "os.kill(os.getpid(), signal.SIGKILL)",
        ["step 'a_kill': the machine that ran it failed: killed by signal 9", "printed nothing"],
    ),
    "a_missing_output": ("return 1", ["step 'a_missing_output'", "without writing its output 'made'"]),
    "a_missing_module": ("import no_such_module", ["No module named 'no_such_module'"]),
}


def write(dags: DagFiles, text: str, name: str = "pipeline") -> None:
    header = HEADER.format(dag_id=dags.dag_id(name))
    dags.file(f"{name}.py", header + textwrap.dedent(text).strip() + "\n")


def failed(dags: DagFiles, text: str) -> RunOutcome:
    """Run the pipeline in *text*, of which ``make`` must fail and leave nothing to reuse."""
    write(dags, text)
    run = dags.run()
    states = {state for key, state in run.states.items() if key.partition("[")[0] == "make"}
    assert states == {"failed"}, run.text
    assert not any(key.partition("[")[0] == "make" for key in run.actions)
    assert not [path for path in dags.sealed() if '"task_id":"make"' in path.read_text()]
    return run


def check(run: RunOutcome, sentences: list[str]) -> None:
    for words in sentences:
        assert words in run.text
    assert "airflow_mlpipe/runtime/call" not in run.text  # a traceback of ours helps no author


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_be_passed_is_told_in_a_sentence(dags: DagFiles, name: str) -> None:
    text, sentences = ARGUMENTS[name]
    check(failed(dags, text), sentences)


def all_fail(dags: DagFiles, functions: dict[str, str], sentences: dict[str, list[str]]) -> None:
    """Run a pipeline of *functions*, each of which must fail with its sentence and leave nothing to reuse."""
    calls = "".join(f"    {name}()\n" for name in functions)
    header = HEADER.format(dag_id=dags.dag_id())
    dags.file("pipeline.py", f"{header}{''.join(functions.values())}\nwith PIPELINE:\n{calls}")
    run = dags.run()
    assert run.states == dict.fromkeys(functions, "failed")
    assert run.actions == {}
    assert dags.sealed() == []
    missing = {name: [words for words in sentences[name] if words not in run.text] for name in functions}
    assert not any(missing.values()), missing
    check(run, [])


def test_a_result_that_cannot_be_handed_on_is_told_in_a_sentence(dags: DagFiles) -> None:
    preamble = """
class Fitted(NamedTuple):
    score: float
    rank: int

async def later():
    return 1
"""
    functions = {
        name: f"""
@step
def {name}(made: Output[Path]) {annotation}:
    made.write_text("made")
    return {value}
"""
        for name, (annotation, value, _) in RESULTS.items()
    }
    first = next(iter(functions))
    functions[first] = preamble + functions[first]
    all_fail(dags, functions, {name: sentences for name, (_, _, sentences) in RESULTS.items()})


def test_a_function_that_does_not_return_as_it_should_fails_its_step(dags: DagFiles) -> None:
    functions = {
        name: f"""
@step
def {name}(made: Output[Path]) -> int:
    {statement}
"""
        for name, (statement, _) in ENDS.items()
    }
    all_fail(dags, functions, {name: sentences for name, (_, sentences) in ENDS.items()})


def test_a_traceback_names_the_line_of_the_dag_file_and_nothing_of_ours(dags: DagFiles) -> None:
    text = """
        def share(rows):
            return 1 / rows
        @step
        def make(rows: int) -> float:
            return share(rows)
        with PIPELINE:
            make(0)
        """
    run = failed(dags, text)
    lines = (dags.folder / "pipeline.py").read_text().splitlines()
    for line in ("    return 1 / rows", "    return share(rows)"):
        assert f"line {lines.index(line) + 1}, in" in run.text
    assert "ZeroDivisionError" in run.text
    check(run, [])


def test_a_secret_in_a_parameter_is_refused_without_being_told(dags: DagFiles, tmp_path: Path) -> None:
    secret = "open-sesame-5523"
    mask_secret(secret)
    text = f"""
        @step
        def make(options: dict[str, str]) -> int:
            return 1
        with PIPELINE:
            make({{"key": "key={secret}"}})
        """
    run = failed(dags, text)
    check(run, ["step 'make': parameter 'options' holds a value that Airflow masks", "environment_variables"])
    places = [path for path in tmp_path.rglob("*") if path.is_file() and dags.folder not in path.parents]
    assert not [path for path in places if secret.encode() in path.read_bytes()]


def test_a_secret_that_comes_by_xcom_is_refused_as_well(dags: DagFiles) -> None:
    secret = "open-sesame-5524"
    mask_secret(secret)
    text = f"""
        @task
        def ask():
            return ["{secret}"]
        @step
        def make(keys: list) -> int:
            return 1
        with PIPELINE:
            make(ask())
        """
    check(failed(dags, text), ["step 'make': parameter 'keys' holds a value that Airflow masks"])


def test_what_is_expanded_over_nothing_is_skipped_and_so_is_what_follows(dags: DagFiles) -> None:
    write(
        dags,
        """
        @step
        def shards() -> list[int]:
            return []
        @step
        def make(shard: int) -> int:
            return shard
        @step
        def total(parts: list[int]) -> int:
            return sum(parts)
        with PIPELINE:
            total(make.expand(shard=shards()))
        """,
    )
    run = dags.run()
    assert run.states == {"shards": "success", "make": "skipped", "total": "skipped"}
    assert run.returned("shards") == []


def test_two_failing_instances_of_a_mapped_step_leave_the_others_alone(dags: DagFiles) -> None:
    write(
        dags,
        """
        @step
        def make(shard: int) -> int:
            return 12 // shard
        with PIPELINE:
            make.expand(shard=[3, 0, 4, 0])
        """,
    )
    run = dags.run()
    assert run.states == {
        "make[0]": "success",
        "make[1]": "failed",
        "make[2]": "success",
        "make[3]": "failed",
    }
    assert [run.returned(f"make[{index}]") for index in (0, 2)] == [4, 3]
    assert len(dags.sealed()) == 2
