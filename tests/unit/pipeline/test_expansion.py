"""What may be mapped over, at once or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_mlpipe import Dataset, PipelineData, PipelineParameter, expand_in_chunks, files_in
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.expansion import check_expansion, longest_expansion


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("sweep") as dag:
        yield dag


def _train(lr: float, depth: int = 1) -> float:
    return lr * depth


@pytest.fixture
def train() -> Any:
    return task(task_id="train")(_train)


@pytest.mark.parametrize("mapped", [{"lr": []}, {"lr": [1], "depth": ()}, [], {"lr": {}}])
def test_mapping_over_nothing_is_refused(mapped: Any) -> None:
    with pytest.raises(DefinitionError, match=r"step 'train' is mapped over \w+, which is empty"):
        check_expansion(mapped, "step 'train'")


@pytest.mark.parametrize("mapped", [{"lr": [1], "depth": [1, 2]}, [{"lr": 1}], {"lr": {"a": 1}}])
def test_mapping_over_something_is_fine(mapped: Any) -> None:
    check_expansion(mapped, "step 'train'")


def test_what_only_the_run_tells_is_not_looked_at(dag: DAG, train: Any) -> None:
    check_expansion({"lr": train(lr=1)}, "step 'train'")
    check_expansion(train(lr=1), "step 'train'")


def test_more_than_airflow_maps_over_is_refused_with_both_numbers() -> None:
    limit = longest_expansion()
    check_expansion({"lr": [0] * limit}, "step 'train'")
    with pytest.raises(
        DefinitionError, match=rf"over {limit + 1} items, .* {limit} at most.*expand_in_chunks"
    ):
        check_expansion([{}] * (limit + 1), "step 'train'")
    with pytest.raises(DefinitionError, match=f"over {2 * limit} items"):
        check_expansion({"lr": [0] * limit, "depth": [1, 2]}, "step 'train'")


def test_chunks_are_tasks_of_one_group_that_wait_for_each_other(dag: DAG, train: Any) -> None:
    expand_in_chunks(train, 2, lr=[1, 2, 3])
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "train.items_1": {"train.chunk_1"},
        "train.chunk_1": {"train.items_2", "train.all_chunks"},
        "train.items_2": {"train.chunk_2"},
        "train.chunk_2": {"train.all_chunks"},
        "train.all_chunks": set(),
    }


def test_a_function_is_mapped_in_chunks_more_than_once(dag: DAG, train: Any) -> None:
    expand_in_chunks(train.partial(depth=2), 5, lr=[1])
    expand_in_chunks(train.override(task_id="tune"), 5, [{"lr": 1}])
    expand_in_chunks(train, 5, lr=[1])
    assert [group.group_id for group in dag.task_group.children.values()] == ["train", "tune", "train__1"]


def test_the_end_of_all_chunks_leaves_the_judgement_to_who_reads_them(dag: DAG, train: Any) -> None:
    expand_in_chunks(train, 1, lr=[1, 2])
    read = expand_in_chunks(train, 1, lr=[1, 2])
    train.override(task_id="best")(lr=read)
    dag.resolve_template_files()
    assert dag.get_task("train.all_chunks").trigger_rule == "all_success"
    assert dag.get_task("train__1.all_chunks").trigger_rule == "all_done"


def test_chunks_keep_to_the_rules_of_a_dag_that_fails_fast(train: Any) -> None:
    with DAG("sweep", fail_fast=True) as dag:
        train.override(task_id="best")(lr=expand_in_chunks(train, 1, lr=[1, 2]))
    dag.resolve_template_files()
    assert {task.trigger_rule for task in dag.tasks} == {"all_success"}


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda train: expand_in_chunks(train, 0, lr=[1]), "the size of a chunk is 0"),
        (lambda train: expand_in_chunks(train, True, lr=[1]), "the size of a chunk is True"),
        (lambda train: expand_in_chunks(train, 10**6, lr=[1]), "a whole number from 1 to"),
        (lambda train: expand_in_chunks(train, 2), "maps over one list, and was given 0"),
        (lambda train: expand_in_chunks(train, 2, lr=[1], depth=[1]), "and was given 2"),
        (lambda train: expand_in_chunks(train, 2, [{"lr": 1}], depth=[1]), "and was given 2"),
        (lambda train: expand_in_chunks(train, 2, lr=[]), "mapped over lr, which is empty"),
        (lambda train: expand_in_chunks(train, 2, lr=train(lr=1)), "known while the DAG is parsed"),
        (lambda train: expand_in_chunks(train, 2, lr="123"), "known while the DAG is parsed"),
        (lambda train: expand_in_chunks(train, 2, lr=[PipelineParameter("lr")]), "which only a run tells"),
        (lambda train: expand_in_chunks(train, 2, lr=["{{ ds }}"]), "which only a run tells"),
        (lambda train: expand_in_chunks(train, 2, [{"lr": [PipelineData("x")]}]), "which only a run tells"),
        (
            lambda train: expand_in_chunks(train, 2, lr=[PipelineData("x").as_input()]),
            "which only a run tells",
        ),
        (lambda train: expand_in_chunks(_train, 2, lr=[1]), "maps a function under @step"),
    ],
)
def test_what_cannot_be_mapped_in_chunks_is_refused(
    dag: DAG, train: Any, call: Callable[[Any], object], problem: str
) -> None:
    with pytest.raises(DefinitionError, match=problem):
        call(train)


def test_datasets_are_mapped_in_chunks(dag: DAG, train: Any) -> None:
    expand_in_chunks(train, 2, lr=[Dataset.File.from_files("a.csv"), Dataset.File.from_files("b.csv")])


@pytest.mark.parametrize("folder", ["shards/", None, Dataset.File.from_files("shards")])
def test_what_no_step_writes_is_not_listed(dag: DAG, folder: Any) -> None:
    with pytest.raises(DefinitionError, match=r"task 'files_in_folder': folder is .* take a Dataset"):
        files_in(folder)


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "a//b", "a/./b", "a\\b", 3])
def test_a_pattern_that_leads_elsewhere_is_refused(dag: DAG, pattern: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot match a path inside the folder"):
        files_in(PipelineData("shards"), pattern)


def test_a_list_of_files_is_called_after_its_folder(dag: DAG, train: Any) -> None:
    made = train(lr=1)
    for folder in (PipelineData("shards"), made["parts"], made):
        files_in(folder)
    assert set(dag.task_ids) == {"train", "files_in_shards", "files_in_parts", "files_in_train"}


def test_a_folder_that_no_step_makes_is_refused_when_the_file_is_read(dag: DAG) -> None:
    files_in(PipelineData("shards"))
    with pytest.raises(DefinitionError, match="reads 'shards', which no step of the DAG produces"):
        dag.resolve_template_files()
