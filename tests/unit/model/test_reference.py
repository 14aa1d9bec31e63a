from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe import PipelineDataReference
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.reference import ProducerReference


def reference(path: Path, kind: str = "directory") -> PipelineDataReference:
    return PipelineDataReference.model_validate(
        {
            "name": "model",
            "uri": f"file://{path}",
            "digest": 64 * "a",
            "kind": kind,
            "size": 3,
            "fingerprint": 64 * "b",
            "producer": {"dag_id": "retrain", "run_id": "run-3", "task_id": "train"},
        }
    )


def test_a_producer_is_told_by_dag_run_task_and_index() -> None:
    producer = ProducerReference(dag_id="retrain", run_id="run-3", task_id="train")
    assert str(producer) == "retrain/run-3/train"
    assert str(producer.model_copy(update={"map_index": 2})) == "retrain/run-3/train[2]"


def test_local_data_is_read_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"abc")
    found = reference(tmp_path)
    assert found.path() == tmp_path
    with found.open("weights.bin") as stream:
        assert stream.read() == b"abc"


def test_data_that_is_gone_is_an_error_that_names_its_producer(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"model of retrain/run-3/train is not at file://.*/gone any more"):
        reference(tmp_path / "gone").path()


@pytest.mark.parametrize("mode", ["w", "a", "r+", "wb"])
def test_sealed_data_cannot_be_opened_for_writing(tmp_path: Path, mode: str) -> None:
    with pytest.raises(StoreError, match="model is sealed: it can be opened for reading"):
        reference(tmp_path).open("weights.bin", mode)


@pytest.mark.parametrize("inside", ["../other", "/etc/passwd", "a/../../b"])
def test_a_path_cannot_lead_out_of_the_data(tmp_path: Path, inside: str) -> None:
    with pytest.raises(StoreError, match="is not a path inside model"):
        reference(tmp_path).open(inside)


def test_a_reference_prints_as_its_address(tmp_path: Path) -> None:
    assert str(reference(tmp_path)) == f"file://{tmp_path}"


def test_a_file_of_a_folder_has_a_reference_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.csv").write_text("a")
    found = reference(tmp_path).file("day/a.csv", 64 * "c", 1)
    assert (found.kind, found.digest, found.size) == ("file", 64 * "c", 1)
    assert found.path().read_text() == "a"
    assert str(found) == f"file://{tmp_path}/day/a.csv"
    assert (found.name, found.output_uri) == ("model", f"file://{tmp_path}")
    with found.open() as stream:
        assert stream.read() == b"a"


def test_a_reference_to_all_of_an_output_has_nothing_inside(tmp_path: Path) -> None:
    whole = reference(tmp_path)
    assert (whole.inside, whole.output_uri) == ("", whole.uri)


@pytest.mark.parametrize("inside", ["../other", "/etc/passwd", "a/../../b"])
def test_a_reference_does_not_lead_out_of_its_output(tmp_path: Path, inside: str) -> None:
    with pytest.raises(ValueError, match="is not a path inside an output"):
        reference(tmp_path).file(inside, 64 * "c", 1)


def test_a_reference_to_a_file_lies_where_the_file_does(tmp_path: Path) -> None:
    document = reference(tmp_path, "file").model_dump()
    with pytest.raises(ValueError, match=r"is not where 'a\.csv' of 'model' lies"):
        PipelineDataReference.model_validate({**document, "inside": "a.csv"})
