"""What is shipped for a function."""

from __future__ import annotations

import ast
import sys
import textwrap
import traceback
from typing import Any

import pytest

from airflow_mlpipe.reuse.shaking import ShakenFunction, shake
from airflow_mlpipe.reuse.syntax import analyse


def shaken(source: str, name: str = "train", *, package: str = "") -> ShakenFunction:
    """What is shipped for the last function *name* in *source*."""
    source = textwrap.dedent(source)
    lines = [
        min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return shake(source, name=name, line=max(lines), package=package, who=f"step {name!r}")


def text(source: str, name: str = "train", *, package: str = "") -> str:
    """The lines that are shipped, without the blank ones."""
    lines = shaken(source, name, package=package).source.split("\n")
    return "\n".join(line for line in lines if line.strip())


def run(source: str, name: str = "train", *arguments: Any) -> Any:
    """What the function returns when it is called in the module that is shipped."""
    module: dict[str, Any] = {"__name__": f"@function.{name}"}
    exec(compile(shaken(source, name).source, "shipped.py", "exec"), module)
    return module[name](*arguments)


def digest(source: str) -> str:
    syntax = analyse(source.encode(), "shipped.py")
    assert syntax is not None
    return syntax.digest


def test_what_the_function_reaches_is_shipped_and_nothing_else() -> None:
    found = shaken(
        '''\
        """Trains a model."""
        from __future__ import annotations
        import json
        import os
        from airflow.sdk import dag
        from airflow_mlpipe import Environment, Run, step

        GPU = Environment(pip_packages=["torch==2.7.0"])
        FACTOR, UNUSED_TOO = 3, 4
        UNUSED = 5


        def scale(rows):
            return [row * FACTOR for row in rows]


        @step(
            compute_target="gpu",
            environment=GPU,
        )
        def train(rows: list) -> str:
            Run.get_context()
            return json.dumps(scale(rows))


        @dag
        def pipeline():
            train([1])

        pipeline()
        '''
    )
    assert found.source == textwrap.dedent(
        '''\
        """Trains a model."""
        from __future__ import annotations
        import json


        from airflow_mlpipe import Run


        FACTOR, UNUSED_TOO = 3, 4



        def scale(rows):
            return [row * FACTOR for row in rows]






        def train(rows: list) -> str:
            Run.get_context()
            return json.dumps(scale(rows))
        '''
    )
    assert found.name == "train"
    assert found.names == ("FACTOR", "Run", "UNUSED_TOO", "json", "scale", "train")


@pytest.mark.parametrize(
    "body",
    [
        "rate = 1; return rate",
        "return [rate for rate in data]",
        "return (lambda rate: rate)(data)",
        "def inner(rate): return rate\n    return inner(data)",
        "for rate in data: pass\n    return rate",
        "import math as rate; return rate",
        "return data.rate",
        "return dict(rate=data)",
        "match data:\n        case {'a': rate}: return rate",
        "class rate: pass\n    return rate",
    ],
)
def test_a_local_name_does_not_reach_the_module_level_name_it_is_like(body: str) -> None:
    source = f"rate = 0.1\n@step\ndef train(data):\n    {body}\n"
    assert shaken("from airflow_mlpipe import step\n" + source).names == ("train",)


@pytest.mark.parametrize(
    "function",
    [
        "def train(data=rate): pass",
        "def train(*, data=rate): pass",
        "def train(data: rate): pass",
        "def train(data: 'list[rate]'): pass",
        "def train() -> rate: pass",
        "@functools.lru_cache(rate)\ndef train(): pass",
        "def train(): return [rate for row in ()]",
        "def train(): return lambda: lambda: rate",
        "def train():\n    class Inner(rate): pass",
        "def train():\n    global rate\n    rate += 1",
        "def train():\n    def inner():\n        global rate\n        rate = 1\n    rate = 2",
    ],
)
def test_names_are_reached_from_every_part_of_the_function(function: str) -> None:
    assert "rate" in shaken(f"import functools\nrate = 0.1\n{function}\n").names


STATEMENTS = {
    "T = []\nT += [1]": [1],
    "T = {}\nT['a'] = {}\nT['a']['b'] = 1": {"a": {"b": 1}},
    "T = [1, 2, 3]\ndel T[0]": [2, 3],
    "T = []\nT.append(1)\nT.extend([2])": [1, 2],
    "class T: pass\nT.rate = 2\nT = vars(T)['rate']": 2,
    "(S, [T, *R]) = 1, [2, 3]": 2,
    "print(T := 3)": 3,
    "T: int = 3": 3,
    "T = 1\nif T:\n    T = 2\nelse:\n    T = 3": 2,
    "T = {}\nfor number in range(3):\n    T[number] = number": {0: 0, 1: 1, 2: 2},
    "T = {}\nwhile len(T) < 2:\n    T[len(T)] = 1": {0: 1, 1: 1},
    "import contextlib\nwith contextlib.suppress(KeyError):\n    T = 1\n    {}['a']": 1,
    "match [1, 2]:\n    case [S, T]: pass": 2,
    "try:\n    import no_such_module as T\nexcept ImportError as error:\n    T = 4": 4,
    "try:\n    pass\nfinally:\n    T = 5": 5,
    "for T in (1, 2): pass": 2,
    "import random\nT = [1, 2, 3]\nrandom.Random(0).shuffle(T)": [1, 3, 2],
    "def fill(table): table.append(1)\nT = []\nfill(T)": [1],
    "def fill(): T.append(1)\nT = []\nfill()": [1],
    "def fill(): inner()\ndef inner():\n    global T\n    T = 7\nT = 1\nfill()": 7,
    "def fill():\n    T.append(1)\n    return 1\nT = []\nother = fill()": [1],
    "def odd(n):\n  even(n)\n  T.append(n)\ndef even(n):\n  if n: odd(n - 1)\nT = []\neven(1)": [0],
    "T = {}\ndef register(f):\n    T[f.__name__] = f()\n    return f\n@register\ndef a(): return 1": {"a": 1},
    "T = {}\ndef register(name):\n    def add(f):\n        T[name] = f()\n    return add\n@register('b')\n"
    "def a(): return 1": {"b": 1},
    "class R(list):\n    def register(self, f): self.append(f())\nT = R()\n@T.register\ndef a(): return 1": [
        1
    ],
    "T = [0]\nclass Setting:\n    T[0] = 1": [1],
    "import decimal\nT = decimal.getcontext().prec = 5": 5,
    "T = 1; U = 2; T = T + U": 3,
    "T = [3, 1]\nlast = T.pop()": [3],
    "T = []\nif T.append(1) is None: pass": [1],
    "T = []\n[T.append(number) for number in range(2)]": [0, 1],
    "T = []\nclass R:\n    def __init_subclass__(cls): T.append(cls.__name__)\n"
    "class A(R): pass\nclass B(A): pass": ["A", "B"],
    "class R:\n    seen = []\n    def __init_subclass__(cls): R.seen.append(cls.__name__)\n"
    "class A(R): pass\nT = R.seen": ["A"],
    "class M(type):\n    seen = []\n    def __init__(cls, *_): M.seen.append(cls.__name__)\n"
    "class A(metaclass=M): pass\nclass B(A): pass\nT = M.seen": ["A", "B"],
    "class R: pass\nclass A(R): pass\nT = [cls.__name__ for cls in R.__subclasses__()]": ["A"],
}


@pytest.mark.parametrize("statements", STATEMENTS)
def test_every_statement_that_makes_the_value_of_a_reached_name_is_shipped(statements: str) -> None:
    source = f"{statements}\nOTHER = 1\ndef train():\n    return T\n"
    assert run(source) == STATEMENTS[statements]
    assert "OTHER" not in shaken(source).names


def test_a_call_of_an_imported_module_is_shipped_with_the_module() -> None:
    source = "import random\nrandom.seed(7)\ndef train():\n    return random.random()\n"
    assert "random.seed(7)" in text(source)
    assert run(source) == run(source)


def test_a_call_that_hands_a_reached_value_to_the_pipeline_is_not_shipped() -> None:
    source = """
    from airflow.sdk import dag
    from airflow_mlpipe import step
    import logging
    RATE = [1]
    @step
    def train(): logging.info("x"); return RATE
    def wire(rate):
        train(rate)
    @dag
    def pipeline(rate):
        RATE.append(2)
        train(rate)
    logging.info(pipeline(RATE))
    pipeline(RATE)
    """
    assert "RATE = [1]" in text(source)
    assert "pipeline" not in text(source)


def test_printing_a_value_does_not_change_it() -> None:
    assert "print" not in text("T = 1\nprint(T)\ndef train(): return T\n")


def test_classes_are_shipped_whole_with_what_they_inherit() -> None:
    source = """
    import abc
    class Meta(type): rate = 2
    class Base(metaclass=Meta): pass
    class Model(Base):
        layers: list = [1]
        def fit(self): return helper(self.layers) + type(self.__class__).rate
    def helper(layers): return len(layers)
    def train() -> Model: return Model().fit()
    """
    assert run(source) == 3
    assert shaken(source).names == ("Base", "Meta", "Model", "helper", "train")


@pytest.mark.parametrize(
    ("imports", "body", "shipped"),
    [
        ("from math import sin, cos as c, tan", "return c(0)", "from math import cos as c"),
        ("import json, math, sys", "return math.pi", "import math"),
        ("import os.path, xml.dom, xml.sax", "return xml.sax", "import xml.dom, xml.sax"),
        ("import xml.dom as d, xml.sax as s", "return s", "import xml.sax as s"),
        ("from math import (\n    sin,\n    cos,  # why\n)", "return cos(0)", "from math import cos"),
        ("from math import (\n    sin,\n    cos,\n)", "return cos(sin(0))", None),
        ("from airflow_mlpipe import step, Run", "return Run", "from airflow_mlpipe import Run"),
        ("import json, \\\n    math", "return math", "import math"),
    ],
)
def test_of_an_import_only_the_reached_names_are_shipped(
    imports: str, body: str, shipped: str | None
) -> None:
    assert text(f"{imports}\ndef train():\n    {body}\n").split("\ndef")[0] == (shipped or imports)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
def test_type_aliases_and_type_parameters_are_followed() -> None:
    source = """
    class Item: pass
    class T: pass
    type Rows[T] = list[T] | Item
    class Box[T: Item]: pass
    def train[T](rows: Rows[T]) -> Box[T]: return len(rows)
    """
    assert shaken(source).names == ("Box", "Item", "Rows", "train")
    assert run(source, "train", [1, 2]) == 2


def test_everything_is_imported_only_for_a_name_that_nothing_else_binds() -> None:
    star = "from math import *\nRATE = 1\n"
    assert run(star + "def train(): return floor(1.5)") == 1
    assert "import" not in text(star + "def train(): return max(RATE, 2), __name__")


def test_local_and_conditional_imports_are_shipped_as_they_are() -> None:
    source = """
    try:
        import no_such_json as json
    except ImportError:
        import json
    def train():
        from math import pi
        return json.dumps(int(pi))
    """
    assert run(source) == "3"


TYPE_CHECKING = """
from __future__ import annotations
import typing as t
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from airflow.sdk import Context
    import pandas as pd
else:
    pd = None
if t.TYPE_CHECKING: from airflow.sdk import DAG
def train(data: pd.DataFrame, context: Context, dag: DAG):
    if TYPE_CHECKING:
        from airflow.sdk import Variable
    return pd
"""


def test_what_only_a_type_checker_reads_is_never_shipped_and_never_an_error() -> None:
    assert "airflow" not in text(TYPE_CHECKING)
    assert run(TYPE_CHECKING, "train", 1, 2, 3) is None


def test_an_edit_below_type_checking_changes_nothing() -> None:
    edited = TYPE_CHECKING.replace("import pandas as pd", "import polars as pd\n    import numpy")
    assert digest(shaken(edited).source) == digest(shaken(TYPE_CHECKING).source)


def test_what_runs_only_when_the_file_is_the_main_program_is_not_shipped() -> None:
    source = (
        "RATE = 1\ndef train(): return RATE\nif __name__ == '__main__':\n    RATE = 2\n    print(train())\n"
    )
    assert run(source) == 1
    assert "print" not in text(source)


@pytest.mark.parametrize(
    ("imports", "decorator"),
    [
        ("from airflow_mlpipe import step", "@step"),
        ("from airflow_mlpipe import step", "@step()"),
        ("from airflow_mlpipe import step", "@step(compute_target=GPU, retries=len([1, 2]))"),
        ("from airflow_mlpipe import step as st", "@st"),
        ("import airflow_mlpipe", "@airflow_mlpipe.step(environment=GPU)"),
        ("import airflow_mlpipe as mlpipe", "@mlpipe.step"),
        ("from airflow_mlpipe.decorators.step import step", "@step"),
        ("from airflow.sdk import task", "@task.mlpipe"),
        ("from airflow.sdk import task as t", "@t.mlpipe(compute_target=GPU)"),
        ("from airflow.decorators import task", "@task.mlpipe()"),
        ("import airflow.sdk", "@airflow.sdk.task.mlpipe"),
        ("from airflow import sdk", "@sdk.task.mlpipe"),
        ("from airflow_mlpipe import step\non_gpu = step(compute_target=GPU)", "@on_gpu"),
        (
            "from functools import partial\nfrom airflow_mlpipe import step\nmine = partial(step, retries=1)",
            "@mine(compute_target=GPU)",
        ),
        ("from airflow_mlpipe import step", "@step(\n    # the large one\n    compute_target=GPU,\n)"),
        ("from airflow_mlpipe import step", "@(\n    step\n)"),
        ("from airflow_mlpipe import step", "@ \\\n  step  # a comment"),
        ("from airflow.sdk import setup, task\nfrom airflow_mlpipe import step", "@setup\n@step"),
        ("from airflow.sdk import task\nfrom airflow_mlpipe import step", "@task.run_if(GPU)\n\n@step"),
    ],
)
def test_the_decorator_that_makes_a_step_is_no_part_of_its_function(imports: str, decorator: str) -> None:
    function = "def train():\n    return 1"
    target = "from airflow_mlpipe import LocalTarget\nGPU = LocalTarget()"
    assert text(f"{imports}\n{target}\n{decorator}\n{function}\n") == function


def test_other_decorators_stay() -> None:
    source = """
    import functools
    from airflow_mlpipe import step
    def twice(function):
        @functools.wraps(function)
        def double(): return 2 * function()
        return double
    @step
    @twice
    @functools.lru_cache(
        maxsize=None
    )
    def train(): return 4
    """
    assert run(source) == 8


def test_a_parameter_that_is_called_like_our_decorator_is_not_ours() -> None:
    source = """
    from airflow_mlpipe import step
    def doubled(step):
        @step
        def inner(): return 2
        return inner
    def twice(function): return lambda: 2 * function()
    @step
    def train(): return doubled(twice)()
    """
    assert run(source) == 4


def test_another_step_is_shipped_as_a_plain_function() -> None:
    source = """
    from airflow_mlpipe import step, LocalTarget
    GPU = LocalTarget()
    @step(compute_target=GPU)
    def prepare(rows): return [2 * row for row in rows]
    @step
    def train(): return prepare([1, 2])
    STEPS = {"prepare": prepare}
    @step
    def by_name(): return STEPS["prepare"]([3])
    """
    assert run(source) == [2, 4]
    assert run(source, "by_name") == [6]
    assert "GPU" not in text(source)


NESTED = '''
from airflow.sdk import DAG, TaskGroup, dag
from airflow_mlpipe import step
RATE = 2
@dag(schedule=None)
def pipeline():
    rows = [1]
    with TaskGroup("all"):
        if rows:
            @step(
                retries=1,
            )
            def train(n=3):
                """Train
deeply."""
                return RATE if n == 0 else train(n - 1) * 2
            train(1)
pipeline()
'''


def test_a_function_in_another_keeps_its_text_and_its_place() -> None:
    assert run(NESTED) == 16
    lines = shaken(NESTED).source.split("\n")
    assert lines[5] == "if True:"
    assert lines[12:16] == NESTED.split("\n")[12:16]
    assert shaken(NESTED).names == ("RATE", "train")


def test_a_function_in_another_does_not_reach_its_own_name_in_the_module() -> None:
    source = """
    from airflow_mlpipe import step
    def train(n): return "not this one"
    def pipeline():
        @step
        def train(n): return n if n == 0 else train(n - 1)
    """
    assert run(source, "train", 3) == 0


def test_what_stands_in_a_with_of_the_dag_is_shipped_alone() -> None:
    source = """
    from airflow.sdk import DAG
    from airflow_mlpipe import step, Dataset
    dag = DAG("other")
    with DAG(
        "pipeline",
    ) as pipeline, dag:
        RATE, FACTOR = 2, 3; BASE = 1
        raw = Dataset.File.from_files("raw/")
        with dag:
            def scale(n):
                return n * RATE
        @step
        def prepare(n): return scale(n) + BASE
        @step
        def train(n): return prepare(n) * FACTOR
        train(RATE)
    """
    assert run(source, "train", 5) == 33
    assert "Dataset" not in text(source)


def test_a_function_in_a_conditional_block_is_shipped_without_it() -> None:
    source = """
    from airflow_mlpipe import step
    GPU = True
    if GPU:
        @step
        def train(): return 1
    else:
        train = None
    """
    assert text(source) == "if True:\n    def train(): return 1"


def test_a_block_that_is_reached_for_another_name_has_the_function_in_it() -> None:
    source = """
    from airflow_mlpipe import step
    try:
        import no_such_module
    except ImportError:
        FALLBACK = 3
        @step
        def train(): return FALLBACK
    """
    assert run(source) == 3
    assert text(source).count("def train") == 1


def test_an_earlier_function_of_the_same_name_is_another() -> None:
    source = """
    from typing import overload
    @overload
    def train(n: int) -> int: ...
    @overload
    def train(n: str) -> str: ...
    def train(n): return n
    """
    assert run(source, "train", 3) == 3
    assert "overload" not in text(source)


def test_registered_artifacts_are_shipped_with_every_function() -> None:
    source = """
    from airflow_mlpipe import register_artifact, step, ArtifactFormat
    import airflow_mlpipe as mlpipe
    SUFFIX = ".grid"
    class Grid: pass
    def save(grid, path): path.with_suffix(SUFFIX)
    register_artifact(Grid, ArtifactFormat("grid", save, None))
    if SUFFIX:
        mlpipe.register_artifact(int, None)
    UNUSED = 1
    @step
    def train(): return 1
    """
    found = shaken(source)
    assert {"Grid", "save", "SUFFIX", "register_artifact", "ArtifactFormat", "mlpipe"} <= set(found.names)
    assert "UNUSED" not in found.names
    assert "mlpipe.register_artifact(int" in found.source


@pytest.mark.parametrize(
    ("written", "package", "shipped"),
    [
        ("from . import shapes", "a.b", "from a.b import shapes"),
        ("from .shapes import area as shapes", "a.b", "from a.b.shapes import area as shapes"),
        ("from ..shapes import shapes", "a.b", "from a.shapes import shapes"),
        ("from .. import shapes", "a.b", "from a import shapes"),
        ("from.x import shapes", "a", "from a.x import shapes"),
        ("from . . x import y as shapes", "a.b", "from a.x import y as shapes"),
    ],
)
def test_relative_imports_become_absolute(written: str, package: str, shipped: str) -> None:
    at_the_top = f"{written}\ndef train(): return shapes\n"
    inside = f"def train():\n    {written}\n    return shapes\n"
    assert text(at_the_top, package=package).split("\n")[0] == shipped
    assert text(inside, package=package).split("\n")[1].strip() == shipped


def test_a_relative_import_over_several_lines_keeps_them() -> None:
    source = (
        "def train():\n    from . import (\n        a,\n        b,  # why\n    ); größe = 1; from .c \\\n"
        "        import d\n    return größe, a, b, d\n"
    )
    shipped = shaken(source, package="p").source
    assert [line.strip() for line in shipped.split("\n")] == [
        "def train():", "from p import (a, b", "", "", "); größe = 1; from p.c import (d", ")",
        "return größe, a, b, d", "",
    ]  # fmt: skip
    ast.parse(shipped)


@pytest.mark.parametrize(
    ("source", "shipped"),
    [
        ("A = 1; B = 2; C = 3\ndef train(): return B", "B = 2"),
        ("A = 1; B = 2; C = 3\ndef train(): return A + C", "A = 1; C = 3"),
        ("A = (\n  1); B = (2,\n  3); C = 3\ndef train(): return B", "B = (2,\n  3)"),
        ("A = (\n  1); B = 3\ndef train(): return A, B", "A = (\n  1); B = 3"),
        ("A = 'ä'; B = 'ö'; C = 3\ndef train(): return B", "B = 'ö'"),
        ("A = 1; \\\n  B = 2\ndef train(): return B", "B = 2"),
        ("import os; B = 2;\ndef train(): return B", "B = 2"),
        ("x = '''\n'''; B = '''a\n  b\n'''; C = 1\ndef train(): return B", "B = '''a\n  b\n'''"),
    ],
)
def test_statements_that_share_a_line_are_told_apart(source: str, shipped: str) -> None:
    assert text(source).split("\ndef")[0] == shipped


def test_line_ends_of_other_systems_are_line_ends() -> None:
    source = "A = 1\r\nB = '''x\r\ny'''\r\n@staticmethod\r\ndef train():\r\n    return B\r\n"
    assert shaken(source).source == "\nB = '''x\ny'''\n@staticmethod\ndef train():\n    return B\n"
    assert shaken(source.replace("\r\n", "\r")).source == shaken(source).source


def test_other_control_characters_are_no_line_ends() -> None:
    source = "A = 'x\x0cy\u2028z'\n\x0c\nB = 2\ndef train(): return A\n"
    assert shaken(source).source == "A = 'x\x0cy\u2028z'\n\n\ndef train(): return A\n"


def test_a_byte_order_mark_is_no_part_of_the_module() -> None:
    source = "\ufeffA = 1\ndef train(): return A\n"
    found = shake(source, name="train", line=2, package="", who="step")
    assert found.source == source[1:]


def test_an_error_in_a_shipped_module_has_the_line_of_the_original() -> None:
    source = NESTED.replace(
        "return RATE", "return [\n                    1,\n                    RATE / 0][0]"
    )
    with pytest.raises(ZeroDivisionError) as caught:
        run(source)
    line = traceback.extract_tb(caught.value.__traceback__)[-1].lineno
    assert line is not None
    assert "RATE / 0" in source.split("\n")[line - 1]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("return 1", True),
        ("return", False),
        ("return None", False),
        ("pass", False),
        ("if data: return data", True),
        ("def inner(): return 1", False),
        ("inner = lambda: 1", False),
        ("for row in data:\n        with row:\n            return 0", True),
    ],
)
def test_whether_a_function_returns_something_is_read_off_its_body(body: str, answer: bool) -> None:
    assert shaken(f"def train(data):\n    {body}\n").returns_value is answer


def test_a_function_is_found_by_its_line_among_others_of_its_name() -> None:
    source = "def a():\n    def train(): return 1\ndef b():\n    def train(): return 2\n"
    found = shake(source, name="train", line=2, package="", who="step")
    assert "return 1" in found.source
    assert "return 2" not in found.source


@pytest.mark.parametrize("source", [NESTED, TYPE_CHECKING])
def test_shaking_what_was_shaken_changes_nothing(source: str) -> None:
    once = shaken(source).source
    assert shaken(once).source == once
