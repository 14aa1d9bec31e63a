from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_mlpipe import OutputFileDatasetConfig, PipelineData
from airflow_mlpipe.errors import DefinitionError


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_output_is_the_one_that_was_declared(duplicate: Any) -> None:
    model = PipelineData("model")
    assert duplicate(model) is model
    assert copy.deepcopy(model.as_input("fitted")).source is model


def test_outputs_of_one_name_are_two_outputs() -> None:
    assert PipelineData("model") != PipelineData("model")
    assert len({PipelineData("model"), PipelineData("model")}) == 2


@pytest.mark.parametrize("name", ["metrics", "return_value"])
def test_names_that_a_return_value_needs_are_taken(name: str) -> None:
    with pytest.raises(
        DefinitionError, match=f"output name '{name}' is taken.*use for example '{name}_data'"
    ):
        PipelineData(name)


@pytest.mark.parametrize(
    ("made", "name", "mode"),
    [
        (lambda output: output.as_input(), None, "mount"),
        (lambda output: output.as_input("fitted"), "fitted", "mount"),
        (lambda output: output.as_dataset(), None, "mount"),
        (lambda output: output.as_named_input("fitted"), "fitted", "mount"),
        (lambda output: output.as_named_input("fitted").as_download(), "fitted", "download"),
        (lambda output: output.as_download(), None, "download"),
        (lambda output: output.as_direct(), None, "direct"),
        (lambda output: output.as_direct().as_mount(), None, "mount"),
    ],
)
def test_an_output_becomes_an_input_of_another_step(made: Any, name: str | None, mode: str) -> None:
    output = PipelineData("model")
    bound = made(output)
    assert (bound.source, bound.name, bound.mode) == (output, name, mode)


def test_an_output_names_the_input_that_has_no_name() -> None:
    assert PipelineData("model").default_input_name == "model"


def test_an_output_read_as_a_table_says_how() -> None:
    delimited = OutputFileDatasetConfig("rows").parse_delimited_files(separator=";", header=False).tabular
    assert delimited is not None
    assert delimited.model_dump() == {
        "format": "delimited",
        "options": {"separator": ";", "header": False},
        "operations": (),
    }
    parquet = PipelineData("rows").parse_parquet_files().tabular
    assert parquet is not None
    assert parquet.format == "parquet"


def test_an_output_folder_may_be_told_where_it_is_copied() -> None:
    output = OutputFileDatasetConfig("rows", destination="exports/{run-id}/{output-name}")
    assert output.destination == "exports/{run-id}/{output-name}"
    assert output.as_mount() is output
    assert output.as_upload() is output


def test_an_output_folder_has_v1s_default_name() -> None:
    assert OutputFileDatasetConfig().name == "output"


@pytest.mark.parametrize(
    ("destination", "sentence"),
    [("x/{date}", "knows the templates"), ("x/../../y", "may not climb out of its folder")],
)
def test_a_destination_with_surprises_is_refused(destination: str, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        OutputFileDatasetConfig("rows", destination=destination)
