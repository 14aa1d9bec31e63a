"""Edges that follow from data, on real DAG objects."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_mlpipe import PipelineData, PythonScriptStep
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.dataflow import Dataflow


@pytest.fixture
def dag(tmp_path: Path) -> Iterator[DAG]:
    """A DAG, open, whose file lies in a folder with a script."""
    (tmp_path / "train.py").touch()
    with DAG("retrain") as dag:
        dag.fileloc = str(tmp_path / "retrain.py")
        yield dag


def step(task_id: str, **keywords: Any) -> PythonScriptStep:
    return PythonScriptStep(task_id=task_id, script_name="train.py", **keywords)


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, follower) for task in dag.tasks for follower in task.downstream_task_ids}


@pytest.mark.parametrize("order", list(itertools.permutations(["prepare", "train", "score"])))
def test_the_order_in_which_steps_are_written_does_not_matter(dag: DAG, order: tuple[str, ...]) -> None:
    prepared, model = PipelineData("prepared"), PipelineData("model")
    make = {
        "prepare": lambda: step("prepare", arguments=[prepared], outputs=[prepared]),
        "train": lambda: step("train", arguments=[prepared, model], outputs=[model]),
        "score": lambda: step("score", arguments=[prepared, model]),
    }
    for name in order:
        make[name]()
    assert edges(dag) == {("prepare", "train"), ("prepare", "score"), ("train", "score")}


def test_who_was_taken_for_the_maker_and_is_not_leaves_no_edge(dag: DAG) -> None:
    model = PipelineData("model")
    step("score", arguments=[model])
    step("report", arguments=[model])
    step("train", outputs=[model])
    assert edges(dag) == {("train", "score"), ("train", "report")}
    assert Dataflow.of(dag).made_by("score") == []


def test_an_order_of_the_authors_own_stays_when_the_maker_changes(dag: DAG) -> None:
    model = PipelineData("model")
    score = step("score", arguments=[model])
    extra = step("extra")
    score >> extra
    report = step("report", arguments=[model])
    extra >> report
    step("train", outputs=[model])
    assert edges(dag) >= {("score", "extra"), ("extra", "report"), ("train", "score"), ("train", "report")}


def test_an_edge_for_two_outputs_outlives_one_of_them(dag: DAG) -> None:
    model, log = PipelineData("model"), PipelineData("log")
    step("score", arguments=[model, log])
    step("report", arguments=[model, log])
    step("train", outputs=[model])
    assert ("score", "report") in edges(dag)


def test_outputs_are_told_in_the_order_in_which_they_were_declared(dag: DAG) -> None:
    outputs = [PipelineData(name) for name in "cab"]
    step("train", arguments=outputs)
    assert Dataflow.of(dag).made_by("train") == outputs


def test_two_outputs_of_one_name_in_two_steps_are_fine(dag: DAG) -> None:
    first, second = PipelineData("model"), PipelineData("model")
    step("left", outputs=[first])
    step("right", outputs=[second])
    step("use", inputs=[second])
    assert edges(dag) == {("right", "use")}


def test_a_cycle_is_refused_where_it_closes(dag: DAG) -> None:
    left, right = PipelineData("left"), PipelineData("right")
    step("a", inputs=[right], outputs=[left])
    with pytest.raises(DefinitionError, match=r"the pipeline has a cycle; remove one of the two"):
        step("b", inputs=[left], outputs=[right])


def test_a_cycle_through_a_step_that_lists_no_output_is_refused_at_the_end(dag: DAG) -> None:
    left, right = PipelineData("left"), PipelineData("right")
    step("a", arguments=[left], inputs=[right])
    step("b", arguments=[right, left])
    with pytest.raises(DefinitionError, match="the pipeline has a cycle"):
        dag.resolve_template_files()


def test_a_reader_without_a_maker_is_refused_at_the_end_only(dag: DAG) -> None:
    model = PipelineData("model")
    score = step("score", inputs=[model])
    with pytest.raises(DefinitionError, match="step 'score' reads 'model', which no step"):
        score.resolve_template_files()
    step("train", outputs=[model])
    score.resolve_template_files()


def test_the_last_checks_change_nothing(dag: DAG) -> None:
    model = PipelineData("model")
    step("train", arguments=[model])
    step("score", arguments=[model])
    before = edges(dag)
    dag.resolve_template_files()
    dag.resolve_template_files()
    assert edges(dag) == before
    assert Dataflow.of(dag).made_by("train") == [model]


def test_a_copied_dag_keeps_its_dataflow(dag: DAG) -> None:
    model = PipelineData("model")
    step("train", outputs=[model])
    step("score", arguments=["--model", model.as_input("fitted")])
    duplicate = copy.deepcopy(dag)
    flow = Dataflow.of(duplicate)
    assert flow is not Dataflow.of(dag)
    assert flow.maker(duplicate.get_task("score").arguments[1].source) == "train"
    assert flow.made_by("train") == [model]
    assert edges(duplicate) == edges(dag)
    duplicate.resolve_template_files()


def test_a_step_that_gets_its_dag_later_joins_then(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    model = PipelineData("model")
    dag = DAG("later")
    dag.fileloc = str(tmp_path / "later.py")
    dag.add_tasks([step("train", outputs=[model]), step("score", inputs=[model])])
    dag.resolve_template_files()
    assert edges(dag) == {("train", "score")}
