from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.definitions.param import DagParam

from airflow_mlpipe import (
    Dataset,
    OutputFileDatasetConfig,
    PipelineData,
    PipelineParameter,
)
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.arguments import check_arguments, check_inputs, check_outputs

RAW = Dataset.File.from_files("raw/")


@pytest.mark.parametrize(
    "item",
    [
        "text with 'quotes' [and] $brackets",
        "",
        "{{ ds }}",
        3,
        -0.5,
        float("inf"),
        True,
        PipelineData("model"),
        OutputFileDatasetConfig("rows"),
        PipelineData("model").as_input(),
        PipelineData("model").as_download(),
        RAW,
        RAW.as_named_input("raw").as_mount(),
        Dataset.Tabular.from_delimited_files("a.csv"),
        PipelineParameter("lr", 0.1),
    ],
    ids=repr,
)
def test_every_kind_of_argument_is_accepted(item: Any) -> None:
    check_arguments([item], "step 'train'")
    check_arguments((item,), "step 'train'")


def test_what_airflow_resolves_is_accepted_as_an_item_and_as_the_list() -> None:
    with DAG("resolved") as dag:
        param = DagParam(dag, "lr", 0.1)
    check_arguments([param], "step 'train'")
    check_arguments(param, "step 'train'")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--lr 1", "arguments is '--lr 1'; it must be a list with one item for each argv item"),
        (None, "arguments is None; it must be a list"),
        (["a", None], "argument 2 is None: None is not an argument; leave it out"),
        ([["a"]], r"argument 1 is \['a'\]: a list within the list; spread it with \*"),
        ([("a",)], "a list within the list"),
        ([Path("/data")], "a path of this machine; use a Dataset, or str"),
        ([{"a": 1}], "a value of type dict cannot be written on a command line nor hashed"),
        ([b"a"], "a value of type bytes cannot be"),
        ([1j], "a value of type complex cannot be"),
        ([object], "a value of type type cannot be"),
        (["a\0b"], r"argument 1 holds a NUL character: 'a\\x00b'"),
    ],
)
def test_anything_else_is_refused_by_its_position(arguments: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=f"^step 'train': .*{sentence}"):
        check_arguments(arguments, "step 'train'")


def test_a_list_of_data_holds_data_only() -> None:
    check_outputs([PipelineData("model")], "step 'train'")
    for items in ([PipelineData("model"), "model"], "model"):
        with pytest.raises(DefinitionError, match="outputs holds 'model'; it must be a list of PipelineData"):
            check_outputs(items, "step 'train'")


def test_an_output_of_another_task_may_be_an_input_but_not_an_output() -> None:
    with DAG("retrain"):
        elsewhere = EmptyOperator(task_id="elsewhere").output
    check_inputs([elsewhere], "step 'train'")
    with pytest.raises(DefinitionError, match="step 'train': outputs holds"):
        check_outputs([elsewhere], "step 'train'")
