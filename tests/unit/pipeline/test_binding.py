"""What each kind of argument becomes when a task runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_mlpipe import (
    Dataset,
    OutputFileDatasetConfig,
    PipelineData,
    PipelineDataReference,
    PipelineParameter,
    PythonScriptStep,
)
from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.pipeline.binding import Binder, Binding, InputToken, OutputToken
from airflow_mlpipe.pipeline.mapped_results import MISSING
from airflow_mlpipe.pipeline.registered import RegisteredInputs
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import SourceFinder

MODEL, ROWS = PipelineData("model"), OutputFileDatasetConfig("rows")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").touch()
    (tmp_path / "raw.csv").write_text("a\n1\n")
    return tmp_path


@pytest.fixture
def task(folder: Path) -> Iterator[PythonScriptStep]:
    with DAG("retrain") as dag:
        dag.fileloc = str(folder / "retrain.py")
        yield PythonScriptStep(task_id="train", script_name="train.py", outputs=[MODEL, ROWS])


def bind(task: Any, folder: Path, arguments: Any, inputs: Any = (), **params: Any) -> Binding:
    finder = SourceFinder(folder, HashCache(None), lambda what: Progress(what, print))
    stores = Stores(Datastore.open(str(folder / "store")))
    binder = Binder(task, {"params": params}, finder, RegisteredInputs(stores))
    return binder.bind(arguments, inputs)


def reference(folder: Path) -> PipelineDataReference:
    return PipelineDataReference.model_validate(
        {
            "name": "prepared",
            "uri": f"file://{folder}/raw.csv",
            "digest": 64 * "a",
            "kind": "file",
            "size": 4,
            "fingerprint": 64 * "b",
            "producer": {"dag_id": "d", "run_id": "r", "task_id": "prepare"},
        }
    )


@pytest.mark.parametrize(
    ("item", "token"),
    [
        ("a text with 'quotes' and [brackets]", "a text with 'quotes' and [brackets]"),
        ("", ""),
        (3, "3"),
        (-0.5, "-0.5"),
        (1e-05, "1e-05"),
        (True, "True"),
        (PipelineParameter("lr"), "0.2"),
        (PipelineParameter("depth", 3), "3"),
        (MODEL, OutputToken("model")),
        (ROWS, OutputToken("rows")),
        (Dataset.File.from_files("raw.csv"), InputToken("input")),
        (Dataset.File.from_files("raw.csv").as_download(), InputToken("input")),
        (Dataset.File.from_files("raw.csv").as_named_input("raw"), InputToken("raw")),
        (Dataset.Tabular.from_delimited_files("raw.csv").as_named_input("table"), InputToken("table")),
    ],
    ids=repr,
)
def test_an_argument_is_one_item_whatever_its_kind(task: Any, folder: Path, item: Any, token: Any) -> None:
    assert bind(task, folder, ["--flag", item], lr=0.2).arguments == ["--flag", token]


@pytest.mark.parametrize(
    ("declared", "sent", "argument"), [(1.0, 1, "1.0"), (1, 1, "1"), (1.0, True, "True"), ("1", 1, "1")]
)
def test_a_whole_number_from_the_trigger_form_is_a_float_where_the_dag_has_one(
    task: Any, folder: Path, declared: Any, sent: Any, argument: str
) -> None:
    task.dag.params["C"] = declared
    assert bind(task, folder, [PipelineParameter("C")], C=sent).arguments == [argument]


def test_a_reference_from_xcom_is_an_input_named_after_its_output(task: Any, folder: Path) -> None:
    binding = bind(task, folder, [reference(folder)])
    assert binding.arguments == [InputToken("prepared")]
    assert binding.inputs["prepared"].source.digest == 64 * "a"


def numbered(folder: Path, digest: str, kind: str = "file") -> PipelineDataReference:
    return reference(folder).model_copy(update={"digest": 64 * digest, "kind": kind})


def test_a_list_of_references_is_one_folder_with_an_entry_for_each_index(task: Any, folder: Path) -> None:
    members = [numbered(folder, "a"), numbered(folder, "b")]
    (bound,) = bind(task, folder, [members]).inputs.values()
    assert [place.path for place in bound.source.places] == ["0000", "0001"]


def test_an_index_without_a_reference_leaves_a_gap_that_counts(task: Any, folder: Path) -> None:
    first, second = numbered(folder, "a"), numbered(folder, "b")
    bound = [
        next(iter(bind(task, folder, [members]).inputs.values()))
        for members in ([first, MISSING, second], [first, second], [MISSING, first, second])
    ]
    assert [[place.path for place in one.source.places] for one in bound] == [
        ["0000", "0002"],
        ["0000", "0001"],
        ["0001", "0002"],
    ]
    assert len({one.source.digest for one in bound}) == 3


def test_an_output_that_was_not_written_is_no_entry_and_counts(task: Any, folder: Path) -> None:
    written, unwritten = numbered(folder, "a"), numbered(folder, "b", "missing")
    bound = [
        next(iter(bind(task, folder, [members]).inputs.values()))
        for members in ([written, unwritten], [written, MISSING])
    ]
    assert [[place.path for place in one.source.places] for one in bound] == [["0000"], ["0000"]]
    assert bound[0].source.digest != bound[1].source.digest


def test_results_that_are_all_missing_are_no_input(task: Any, folder: Path) -> None:
    with pytest.raises(UserError, match=r"argument 1 resolved to \[MISSING, MISSING\]"):
        bind(task, folder, [[MISSING, MISSING]])


def test_an_input_that_is_listed_and_argued_is_one_input(task: Any, folder: Path) -> None:
    raw = Dataset.File.from_files("raw.csv").as_named_input("raw")
    binding = bind(task, folder, ["--raw", raw], inputs=[raw])
    assert list(binding.inputs) == ["raw"]


def test_inputs_without_names_are_numbered(task: Any, folder: Path) -> None:
    whole = Dataset.File.from_files("raw.csv")
    assert list(bind(task, folder, [whole, whole.as_download()]).inputs) == ["input", "input_2"]


def test_two_inputs_of_one_name_are_refused(task: Any, folder: Path) -> None:
    raw = Dataset.File.from_files("raw.csv").as_named_input("raw")
    with pytest.raises(DefinitionError, match="two inputs have the name 'raw'"):
        bind(task, folder, [raw, raw.as_download()])


def test_an_input_counts_by_content_and_not_by_place(task: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "other.csv").write_text("a\n1\n")
    documents = [
        bind(task, folder, [Dataset.File.from_files(str(path)).as_named_input("raw")])
        .inputs["raw"]
        .as_recipe()
        for path in (folder / "raw.csv", tmp_path / "copy" / "other.csv")
    ]
    assert documents[0] == documents[1]
    assert str(tmp_path) not in str(documents)


def test_a_dataset_that_nobody_could_name_elsewhere_is_refused(task: Any, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "b\udcffd.csv").touch()
    for path, problem in (("data/*", "not valid UTF-8"), ("x" * 300, "cannot be looked for")):
        with pytest.raises(UserError, match=problem):
            bind(task, folder, [Dataset.File.from_files(path).as_named_input("raw")])


@pytest.mark.parametrize("value", [None, {"a": 1}, [1, 2], SimpleNamespace()])
def test_an_xcom_of_another_kind_is_refused_by_its_position(task: Any, folder: Path, value: Any) -> None:
    with pytest.raises(UserError, match=r"argument 1 resolved to .*an upstream task must return a text"):
        bind(task, folder, [value])


def test_arguments_that_resolve_to_no_list_are_refused(task: Any, folder: Path) -> None:
    with pytest.raises(DefinitionError, match="arguments resolved to '--lr 1'; it must be a list"):
        bind(task, folder, "--lr 1")


def test_a_param_that_the_run_does_not_have_is_told(task: Any, folder: Path) -> None:
    with pytest.raises(DefinitionError, match="the DAG has no param 'rate'; it has lr"):
        bind(task, folder, [PipelineParameter("rate")], lr=0.1)


def test_an_input_that_resolves_to_no_reference_is_refused(task: Any, folder: Path) -> None:
    with pytest.raises(UserError, match="an input resolved to 'a text' of type str"):
        bind(task, folder, [], ["a text"])
