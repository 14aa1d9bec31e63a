"""Why functions were called, told from what real runs left in the datastore."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe import explain
from airflow_mlpipe.cli.explain import text_of
from airflow_mlpipe.pipeline.explaining.explanation import Explanation
from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

TRAIN = """
from words import clean

FACTOR = 3

def scaled(value):
    return FACTOR * value

@step
def train(config: dict[str, Any], lr: float = 0.1) -> str:
    return clean(f"{scaled(config['depth'])} {lr}")
"""

SCORES = """
@step
def score(shard: str) -> bytes:
    return shard.encode()

@step
def collect(scores: Input[Path]) -> int:
    return len(list(scores.iterdir()))

@step
def total(scores: list[bytes]) -> int:
    return sum(map(len, scores))
"""

MAPPED = """
scores = score.expand(shard={})
collect(scores)
total(scores)
"""


@pytest.fixture
def train(dags: DagFiles) -> DagFiles:
    """One function, with helpers in its own module and in another one."""
    dags.file("words.py", "def clean(text):\n    return text.lower()\n")
    dags.functions(TRAIN, "train({'depth': 1, 'width': 2})")
    return dags


def why(dags: DagFiles, run: RunOutcome, task_id: str, map_index: int = -1, **options: Any) -> Explanation:
    assert run.state == "success", run.text
    return explain(dags.dag_id(), run.run_id, task_id, map_index, **options)


def changed(explanation: Explanation) -> list[str]:
    return [change.difference.sentence() for change in explanation.changes]


def test_of_changed_parameters_the_place_is_told_with_old_and_new_value(train: DagFiles) -> None:
    train.run()
    train.functions(TRAIN, "train({'depth': 2, 'width': 2}, lr=0.2)")
    found = why(train, train.run(), "train")
    assert changed(found) == ["parameter config.depth 1 -> 2", "parameter lr 0.1 -> 0.2"]
    assert "code" in found.equal_parts


def test_of_changed_code_the_function_and_what_it_reaches_are_told_with_the_lines(train: DagFiles) -> None:
    train.run()
    train.functions(TRAIN.replace("FACTOR * value", "FACTOR + value"), "train({'depth': 1, 'width': 2})")
    train.file("words.py", "def clean(text):\n    return text.upper()\n")
    found = why(train, train.run(), "train")
    assert [sentence.partition(" (")[0] for sentence in changed(found)] == [
        "words.py changed",
        "function train changed",
    ]
    words, function = (change.code for change in found.changes)
    assert words is not None
    assert "-    return text.lower()\n+    return text.upper()\n" in words.diff
    assert function is not None
    assert function.names == ("scaled",)
    assert "-    return FACTOR * value\n+    return FACTOR + value\n" in function.diff
    assert "\n  in scaled\n" in text_of(found)


def test_a_value_that_became_the_data_of_a_step_is_told(dags: DagFiles) -> None:
    functions = """
    @step
    def weights() -> bytes:
        return b"w"

    @step
    def show(about: dict[str, str | bytes]) -> str:
        return str(about)
    """
    dags.functions(functions, "weights(); show({'model': 'base'})")
    dags.run()
    dags.functions(functions, "show({'model': weights()})")
    found = why(dags, dags.run(), "show")
    assert changed(found) == ["parameter about.model base -> input about_model", "input about_model added"]
    assert str(found.changes[1].causes[0].made_by).endswith("/weights")


def test_fields_that_are_returned_count(dags: DagFiles) -> None:
    function = """
    class Made(NamedTuple):
        a: int
    {}

    @step
    def make() -> Made:
        return Made(*{})
    """
    dags.functions(function.format("", [1]), "make()")
    dags.run()
    dags.functions(function.format("    b: int", [1, 2]), "make()")
    assert changed(why(dags, dags.run(), "make"))[0] == "returned fields ['a'] -> ['a', 'b']"


def test_a_collecting_step_names_the_instance_that_is_new_and_none_that_moved(dags: DagFiles) -> None:
    dags.functions(SCORES, MAPPED.format(["b", "c", "d"]))
    dags.run()
    dags.functions(SCORES, MAPPED.format(["a", "b", "c", "d"]))
    run = dags.run()
    found = why(dags, run, "collect")
    (change,) = found.changes
    (cause,) = change.causes
    assert change.note == "the number of its outputs is 4, and was 3"
    assert str(cause.made_by) == f"{dags.dag_id()}/{run.run_id}/score[0]"
    assert cause.note is not None
    assert cause.note.startswith("it was not there before; ")
    listed = why(dags, run, "total")
    assert changed(listed) == ["input scores_0 added"]
    assert str(listed.changes[0].causes[0].made_by) == f"{dags.dag_id()}/{run.run_id}/score[0]"
    assert run.decision("total")["reason"] == "input scores_0 added"


def test_a_collecting_step_leads_to_the_parameter_of_the_instance_that_changed(dags: DagFiles) -> None:
    dags.functions(SCORES, MAPPED.format(["a", "b", "c"]))
    dags.run()
    dags.functions(SCORES, MAPPED.format(["a", "x", "c"]))
    run = dags.run()
    for task_id in ("collect", "total"):
        found = why(dags, run, task_id)
        (change,) = found.changes
        (cause,) = change.causes
        assert str(cause.made_by) == f"{dags.dag_id()}/{run.run_id}/score[1]"
        assert [inner.difference.sentence() for inner in cause.changes] == ["parameter shard b -> x"]
        assert found.roots == (f"{cause.made_by}: parameter shard b -> x",)


def test_an_instance_is_compared_with_the_one_that_had_its_values_whatever_index_that_had(
    dags: DagFiles,
) -> None:
    dags.functions(SCORES, "score.expand(shard=['b', 'c'])")
    first = dags.run()
    dags.functions(
        SCORES.replace("shard.encode()", "shard.upper().encode()"), "score.expand(shard=['a', 'b', 'c'])"
    )
    second = dags.run()
    assert second.decision("score[0]")["reason"].endswith("parameter shard b -> a")
    for index in (1, 2):
        found = why(dags, second, "score", index)
        assert [sentence.partition(" (")[0] for sentence in changed(found)] == ["function score changed"]
        assert found.baseline is not None
        assert str(found.baseline.instance) == f"{dags.dag_id()}/{first.run_id}/score[{index - 1}]"
