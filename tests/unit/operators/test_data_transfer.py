"""What an author may write for a transfer, known while the DAG is parsed."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_mlpipe import CommandStep, Dataset, Datastore, DataTransferStep, LocalTarget, PipelineData
from airflow_mlpipe.errors import DefinitionError

RAW = Datastore("raw")


def written(**keywords: Any) -> DataTransferStep:
    with DAG("transfers", schedule=None):
        return DataTransferStep(**keywords)


@pytest.mark.parametrize(
    ("source", "resolved"),
    [
        ("data/raw", "data/raw"),
        ("s3://raw/{{ ds }}/", "s3://raw/{{ ds }}/"),
        (RAW, "datastore://raw/"),
        ((RAW, "2026/"), "datastore://raw/2026/"),
        (Dataset.File.from_files("a"), Dataset.File.from_files("a")),
    ],
)
def test_a_source_is_a_place_or_data(source: Any, resolved: Any) -> None:
    assert written(source=source, destination=(RAW, "copies")).source == resolved


def test_the_words_of_azure_ml_mean_the_same() -> None:
    step = written(
        name="Copy the data", source_data_reference=(RAW, "a"), destination_data_reference=(RAW, "b")
    )
    assert (step.source, step.destination) == ("datastore://raw/a", "datastore://raw/b")
    assert (step.task_id, step.task_display_name) == ("Copy_the_data", "Copy the data")


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"destination": "b"}, "step 'transfer': say either source or, as in SDK v1, source_data_reference"),
        ({"source": "a", "source_data_reference": "a", "destination": "b"}, "say either source or"),
        ({"source": "a"}, "say either destination or"),
        ({"source": 1, "destination": "b"}, "source is 1; it must be a path, a URL, a place"),
        ({"source": "a", "destination": 1}, "1 names no data"),
        ({"source": "datastore://a/../b", "destination": "b"}, "climbs out of its datastore"),
        ({"source": "a", "destination": "b", "compute_target": "gpu"}, "compute target 'gpu' is not known"),
        ({"source": PipelineData("a").as_input(), "destination": "b"}, "which no step of the DAG produces"),
    ],
)
def test_a_mistake_is_told_when_the_dag_is_parsed(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        written(**keywords).resolve_template_files()


def test_it_takes_the_queue_and_the_pool_of_its_target() -> None:
    step = written(
        source="a", destination="b", compute_target=LocalTarget("edge", queue="edge", pool="lines")
    )
    assert (step.queue, step.pool) == ("edge", "lines")


@pytest.mark.parametrize("as_input", [False, True])
def test_it_comes_after_the_step_whose_output_it_copies(as_input: bool) -> None:
    model = PipelineData("model")
    with DAG("transfers", schedule=None):
        transfer = DataTransferStep(source=model.as_input() if as_input else model, destination="b")
        CommandStep(task_id="train", command=["true"], outputs=[model])
    assert transfer.upstream_task_ids == {"train"}
