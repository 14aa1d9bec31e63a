"""What cannot be shipped for a function, and the sentence that says so."""

from __future__ import annotations

import ast
import textwrap

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.shaking import shake

PREAMBLE = """\
from pathlib import Path
from airflow.sdk import DAG, Variable, dag, task
from airflow_mlpipe import Dataset, Output, Run, step
import airflow_mlpipe as mlpipe
import airflow_mlpipe.runtime
"""  # five lines


def shipped(source: str, name: str, line: int, *, package: str = "") -> str:
    return shake(
        source,
        name=name,
        line=line,
        package=package,
        who=f"step {name!r}",
    ).source


def refusal(source: str) -> str:
    """The sentence about the last function ``train`` below the preamble."""
    source = PREAMBLE + textwrap.dedent(source).lstrip("\n")
    lines = [
        min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "train"
    ]
    with pytest.raises(DefinitionError, match=r"^step 'train' cannot be shipped: ") as caught:
        shipped(source, "train", max(lines))
    return str(caught.value).removeprefix("step 'train' cannot be shipped: ")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "async def train(): pass",
            "'train' (line 6) is an async function; use 'def', and asyncio.run() inside it",
        ),
        (
            "@step\ndef train():\n rows = [(yield 1)]",
            "'train' (line 7) is a generator, for it has 'yield'; return a list, or write to an output",
        ),
        (
            "def train():\n yield from ()",
            "'train' (line 6) is a generator, for it has 'yield'; return a list, or write to an output",
        ),
        (
            "class Steps:\n @step\n def train(self): pass",
            "'train' (line 8) is a method of class 'Steps'; move it out of the class",
        ),
        (
            "def make():\n class Steps:\n  if True:\n   def train(self): pass",
            "'train' (line 9) is a method of class 'Steps'; move it out of the class",
        ),
    ],
)
def test_a_function_of_another_kind_is_refused(source: str, sentence: str) -> None:
    assert refusal(source) == sentence


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (
            "@dag\ndef around():\n x = 1\n @step\n def train(): return x",
            "'x', a variable of around() (line 8)",
        ),
        ("def around(x):\n @step\n def train(): return lambda: x", "'x', a variable of around() (line 6)"),
        ("def around(x):\n @step\n def train(n=x): return n", "'x', a variable of around() (line 6)"),
        ("def around(x):\n @step\n def train(n: x): return n", "'x', a variable of around() (line 6)"),
        ("def around(x):\n def inner():\n  def train(): return x", "'x', a variable of around() (line 6)"),
        ("def around():\n def x(): pass\n def train(): return x()", "'x', a variable of around() (line 7)"),
        ("def around():\n import x\n def train(): return x", "'x', a variable of around() (line 7)"),
        (
            "x = 1\ndef around():\n if x: x = 2\n def train(): return x",
            "'x', a variable of around() (line 8)",
        ),
    ],
)
def test_a_variable_of_the_function_around_is_told_with_its_line(source: str, what: str) -> None:
    advice = "pass it as a parameter or move it to the top of the module"
    assert refusal(source) == f"it uses {what}; {advice}"


def test_a_name_that_is_declared_global_is_no_variable_of_the_function_around() -> None:
    source = "x = 1\ndef around():\n  x = 2\n  def train():\n    global x\n    x += 1\n    return x\n"
    assert shipped(source, "train", 4).startswith("x = 1\n")


OF_A_PIPELINE = [
    ("raw = Dataset()\n@step\ndef train(): return raw", "uses 'raw' (line 6)", "airflow_mlpipe.Dataset"),
    ("@step\ndef train(): Variable.get('x')", "uses 'Variable' (line 2)", "airflow.sdk.Variable"),
    ("@step\ndef train(data: Dataset): pass", "uses 'Dataset' (line 3)", "airflow_mlpipe.Dataset"),
    (
        "def one(): Variable.get('x')\ndef two(): one()\ndef train(): two()",
        "uses 'two' (line 7), which uses 'one' (line 6)",
        "airflow.sdk.Variable",
    ),
    ("@task\ndef f(): pass\n@step\ndef train(): f()", "uses 'f' (line 7)", "airflow.sdk.task"),
    ("import airflow.x as a\ndef train(): a", "uses 'a' (line 6)", "airflow.x"),
    ("import airflow_mlpipe.model as m\ndef train(): m", "uses 'm' (line 6)", "airflow_mlpipe.model"),
    ("with DAG('p') as p:\n  pass\ndef train(): p", "uses 'p' (line 6)", "airflow.sdk.DAG"),
    ("with DAG('p'):\n  r = Dataset()\n  def train(): r", "uses 'r' (line 7)", "airflow_mlpipe.Dataset"),
    ("T = {}\nT['r'] = Dataset()\ndef train(): T", "uses 'T' (line 6)", "airflow_mlpipe.Dataset"),
    ("import math\nmath.r = Dataset()\ndef train(): math", "uses 'math' (line 6)", "airflow_mlpipe.Dataset"),
    ("from airflow.sdk import *\ndef train(): chain", "uses 'chain'", "airflow.sdk.*"),
    (
        "try:\n  from airflow.sdk import X\nexcept ImportError:\n  X = None\ndef train(): X",
        "uses 'X' (line 7)",
        "airflow.sdk.X, line 7",
    ),
]


@pytest.mark.parametrize(("source", "way", "what"), OF_A_PIPELINE)
def test_what_needs_airflow_is_told_with_the_way_to_it(source: str, way: str, what: str) -> None:
    assert refusal(source) == (
        f"it {way}, which needs Airflow's or a pipeline's objects ({what}), and they stay where the DAG is; "
        "pass it as a parameter"
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("from airflow.models import Variable", "airflow.models.Variable"),
        ("import airflow", "airflow"),
        ("from airflow_mlpipe.store import sealing", "airflow_mlpipe.store.sealing"),
        ("return mlpipe.Dataset", "airflow_mlpipe.Dataset"),
        ("return airflow_mlpipe.plan", "airflow_mlpipe.plan"),
    ],
)
def test_what_the_body_takes_from_airflow_is_told_with_its_line(body: str, what: str) -> None:
    assert refusal(f"@step\ndef train():\n    {body}") == (
        f"it needs Airflow's or a pipeline's objects ({what}, line 8), and they stay where the DAG is; "
        "pass it as a parameter"
    )


@pytest.mark.parametrize(
    "value", ["prepare()", "prepare.override(retries=1)", "[prepare(n) for n in (1, 2)]"]
)
def test_the_result_of_a_step_is_not_there_when_the_module_is_imported(value: str) -> None:
    source = f"@step\ndef prepare(): return 1\nrows = {value}\n@step\ndef train(): return rows"
    assert refusal(source) == (
        "it uses 'rows' (line 8), which comes from the step 'prepare', which Airflow calls; "
        "pass it as a parameter"
    )


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("def train(): return Path(__file__).parent", "it"),
        ("HERE = Path(__file__).parent\ndef train(): return HERE", "it uses 'HERE' (line 6), which"),
    ],
)
def test_files_beside_the_module_are_refused(source: str, way: str) -> None:
    assert refusal(source) == (
        f"{way} uses __file__, and files beside the DAG file are not shipped; "
        "pass a Dataset, or set source_directory, whose files lie in the step's working directory"
    )


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("from . import x\ndef train(): return x", "it uses 'x' (line 6), which imports from ."),
        ("def train(): from ..a import x", "it imports from ..a (line 6)"),
    ],
)
def test_a_relative_import_outside_a_package_is_refused(source: str, way: str) -> None:
    assert refusal(source) == (
        f"{way}, and the file is in no package; write the name of a package instead of the dots"
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("@step\ndef train(n): return train(n)\ntrain = train.override(retries=1)", 8),
        ("def train(): pass\ndef f(): train()\ndef g():\n @step\n def train(): return f()", 6),
        ("RATE, train = 1, 2\ndef g():\n @step\n def train(): return RATE", 6),
        ("if Path:\n def train(n): pass\nelse:\n def train(n): return train(n)", 7),
    ],
)
def test_a_name_that_two_things_would_have_is_refused(source: str, line: int) -> None:
    assert refusal(source) == (
        f"its own name 'train' stands for something else, too, on line {line}; give one of them another name"
    )


def test_a_registration_that_needs_airflow_is_refused() -> None:
    source = "from airflow_mlpipe import register_artifact\nregister_artifact(Dataset)\ndef train(): pass"
    assert refusal(source).startswith(
        "line 7 registers an artifact and needs Airflow's or a pipeline's objects (airflow_mlpipe.Dataset), "
    )


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        (
            "<lambda>",
            1,
            "step '<lambda>' cannot be shipped: it is a lambda (line 1); write it as a function with 'def'",
        ),
        ("train", 2, "its module has no function 'train' on line 2; define it with 'def' in the file itself"),
        ("other", 1, "no function 'other' on line 1"),
    ],
)
def test_a_function_that_is_not_there_is_told(name: str, line: int, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=r"^step .* cannot be shipped: ") as caught:
        shipped("def train(): pass\ndouble = lambda n: 2 * n\n", name, line)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def train(:\n", "line 1: "),
        ("x = 1\n  y = 2\n", "line 2: unexpected indent"),
        ("x = '\0'", "null bytes"),
        ("from ...a import b\ndef train(): pass", "line 1 imports from beyond the top-level package"),
    ],
)
def test_a_module_that_cannot_be_parsed_is_told(source: str, sentence: str) -> None:
    with pytest.raises(
        DefinitionError, match="step 'train' cannot be shipped: its module cannot be parsed"
    ) as e:
        shipped(source, "train", 1, package="a.b")
    assert sentence in str(e.value)


def test_what_runs_beside_a_step_is_not_refused() -> None:
    source = (
        "from airflow_mlpipe import ArtifactFormat, Input, OUTPUT, Output, Pickle, Run, runtime\n"
        "from airflow_mlpipe.runtime.annotations import OUTPUT as AGAIN\n"
        "from airflow_mlpipe.errors import UserError\n"
        "import airflow_mlpipe, airflow_mlpipe.runtime.run\n"
        "import airflow_mlpipe as m\n"
        "def train(a: Input[int], b: Output[str] = OUTPUT) -> Pickle[int]:\n"
        "    from airflow_mlpipe import Run as R\n"
        "    return AGAIN, ArtifactFormat, Run, UserError, airflow_mlpipe.Run, m.Run, runtime\n"
    )
    assert "Run as R" in shipped(source, "train", 6)


def test_a_change_that_only_may_be_one_is_left_out_when_it_needs_airflow() -> None:
    source = (
        "import logging, sys\n"
        "from airflow.sdk import Variable\n"
        "sys.path.insert(0, __file__)\n"
        "logging.info(Variable.get('x'))\n"
        "logging.disable()\n"
        "def train(): logging.info(sys.argv)\n"
    )
    lines = shipped(source, "train", 6).split("\n")
    assert lines[:-1] == ["import logging, sys", "", "", "", "logging.disable()", source.split("\n")[5]]
