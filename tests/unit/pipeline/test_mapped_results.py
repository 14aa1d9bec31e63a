"""The results of mapped tasks, each at its map index, as a run's requests are answered for a plan."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_mlpipe.pipeline.mapped_results import MISSING, aligned, resolved
from airflow_mlpipe.pipeline.planning.context import context_of, in_place_of_a_supervisor
from airflow_mlpipe.pipeline.planning.run import HandedOn, PlannedRun


class Done:
    """A run in which mapped tasks have handed on one value an instance; None for nothing."""

    def __init__(self, run: PlannedRun) -> None:
        self._run = run

    def hands_on(self, task_id: str, *values: Any) -> Any:
        """The XComArg of a task whose instances handed *values* on."""
        self._run.expand(task_id, len(values))
        for index, value in enumerate(values):
            handed_on = {} if value is None else {"return_value": value}
            self._run.hand_on(task_id, index, HandedOn(handed_on))
        return self._run.dag.get_task(task_id).output

    def aligned(self, value: Any) -> Any:
        """What a reader of *value*, in which XComArgs may stand, is given."""
        reader = self._run.dag.get_task("reader")
        with in_place_of_a_supervisor(self._run):
            context = context_of(self._run, reader, -1)
            return aligned(reader.render_template(value, context), context)

    def resolved(self, argument: Any) -> Any:
        with in_place_of_a_supervisor(self._run):
            return resolved(argument, context_of(self._run, self._run.dag.get_task("reader"), -1))


@pytest.fixture
def done() -> Iterator[Done]:
    with DAG("retrain") as dag:
        for task_id in ("score", "rate"):
            BaseOperator.partial(task_id=task_id).expand(params=[{}, {}, {}])
        BaseOperator(task_id="reader")
        yield Done(PlannedRun(dag, {}))


def test_every_result_stands_at_its_index(done: Done) -> None:
    score = done.hands_on("score", "a", "b", "c")
    assert done.aligned(score) == ["a", "b", "c"]


@pytest.mark.parametrize("values", [(None, "b", "c"), ("a", None, "c"), ("a", "b", None), (None, None, None)])
def test_an_instance_that_handed_on_nothing_leaves_a_gap_at_its_index(
    done: Done, values: tuple[str | None, ...]
) -> None:
    found = done.aligned(done.hands_on("score", *values))
    assert found == [MISSING if value is None else value for value in values]


def test_what_is_missing_is_told_once_with_the_reason(done: Done, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        done.aligned(done.hands_on("score", "a", None, None))
    assert caplog.messages == [
        "Results of score are missing for 2 of 3 instances: 1 returned nothing, 2 returned nothing"
    ]


def test_nothing_is_told_when_nothing_is_missing(done: Done, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        done.aligned(done.hands_on("score", "a", "b"))
    assert caplog.messages == []


def test_results_are_found_in_lists_tuples_and_dicts(done: Done) -> None:
    score = done.hands_on("score", "a", None)
    assert done.aligned({"x": [score, 1], "y": (score,), "z": "text"}) == {
        "x": [["a", MISSING], 1],
        "y": (["a", MISSING],),
        "z": "text",
    }


def test_a_mapped_gap_stays_a_gap(done: Done) -> None:
    score = done.hands_on("score", "a", None, "c")
    assert done.aligned(score.map(str.upper).map(lambda text: text * 2)) == ["AA", MISSING, "CC"]


def test_a_zip_pairs_equal_indexes(done: Done) -> None:
    score, rate = done.hands_on("score", "a", None, "c"), done.hands_on("rate", None, 2)
    assert done.aligned(score.zip(rate)) == [("a", MISSING), (MISSING, 2)]
    assert done.aligned(score.zip(rate, fillvalue=0)) == [("a", MISSING), (MISSING, 2), ("c", 0)]


def test_a_concatenation_has_the_indexes_of_its_parts_one_after_the_other(done: Done) -> None:
    score, rate = done.hands_on("score", "a", None), done.hands_on("rate", None, "d")
    assert done.aligned(score.concat(rate)) == ["a", MISSING, MISSING, "d"]
    assert done.aligned(score.concat(rate).map(str.upper)) == ["A", MISSING, MISSING, "D"]


@pytest.mark.parametrize("value", [None, "text", 3, {"a": [1, (2,)]}, [], {3}])
def test_anything_else_is_returned_as_it_is(done: Done, value: Any) -> None:
    assert done.aligned(value) == value


def test_an_argument_is_resolved_and_aligned_in_one(done: Done) -> None:
    assert done.resolved(done.hands_on("score", None, "b")) == [MISSING, "b"]


def test_the_gap_is_one_object_however_it_is_copied() -> None:
    assert copy.deepcopy([MISSING])[0] is MISSING
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
    assert repr(MISSING) == "MISSING"
