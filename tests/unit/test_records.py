from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import InputSpec, LaunchSpec, OutputSpec, RunInfo, StepResult, from_json, to_json

RUN = RunInfo("id", "retrain", "retrain", "run-3", "train", -1, 1, {"team": "a"}, None)
SPEC = LaunchSpec(
    attempt="train-1",
    fingerprint=64 * "a",
    argv=["python", "train.py", "--lr", "0.1"],
    directory="/records",
    working_directory="/work",
    run=RUN,
    inputs={"raw": InputSpec("tabular", ["/a.csv"], {"format": "delimited"})},
    outputs={"model": OutputSpec("/out/model", create=False)},
    environment={"SEED": "1"},
)
RESULT = StepResult("train-1", "failed", -9, 1.0, 2.5, "killed", ["last", "lines"])


def changed(record: Any, **changes: Any) -> str:
    return json.dumps({**json.loads(to_json(record)), **changes})


@pytest.mark.parametrize("record", [SPEC, RESULT, RUN])
def test_a_record_survives_its_json(record: Any) -> None:
    text = to_json(record)
    assert from_json(type(record), text) == record
    assert from_json(type(record), text.encode()) == record
    assert text.endswith("}\n")


def test_equal_records_have_equal_json() -> None:
    assert to_json(RUN) == to_json(from_json(RunInfo, to_json(RUN)))
    assert list(json.loads(to_json(SPEC))) == sorted(json.loads(to_json(SPEC)))


def test_fields_with_a_default_may_be_missing() -> None:
    document = {"attempt": "a", "status": "succeeded", "exit_code": None, "started_at": 1, "finished_at": 2}
    read = from_json(StepResult, json.dumps({**document, "schema_version": 1}))
    assert (read.exit_code, read.last_lines, read.started_at) == (None, [], 1.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "StepResult is not JSON"),
        ("[]", r"StepResult is \[\]; expected an object"),
        (changed(RESULT, schema_version=2), "schema_version 2; this version of airflow_mlpipe reads 1"),
        (changed(RESULT, schema_version=None), "schema_version None"),
        (changed(RESULT, colour="red"), "StepResult has unknown fields: colour"),
        (changed(RESULT, status="done"), "StepResult.status is 'done'; expected one of 'succeeded'"),
        (changed(RESULT, exit_code="1"), "StepResult.exit_code is '1'; expected int"),
        (changed(RESULT, exit_code=True), "StepResult.exit_code is True; expected int"),
        (changed(RESULT, started_at=True), "StepResult.started_at is True; expected float"),
        (changed(RESULT, last_lines="x"), "StepResult.last_lines is 'x'; expected list"),
        (changed(RESULT, last_lines=["x", 1]), r"StepResult.last_lines\[1\] is 1; expected str"),
    ],
)
def test_any_other_document_is_refused_by_its_place(text: str, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        from_json(StepResult, text)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run": None}, "LaunchSpec.run is None; expected an object"),
        ({"inputs": {"raw": {"kind": "image", "paths": []}}}, r"LaunchSpec.inputs\['raw'\].kind is 'image'"),
        ({"outputs": {"m": {"path": "/o"}}}, r"LaunchSpec.outputs\['m'\] lacks fields: create"),
        ({"environment": {"SEED": 1}}, r"LaunchSpec.environment\['SEED'\] is 1; expected str"),
    ],
)
def test_a_mistake_deep_inside_is_told_by_its_path(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        from_json(LaunchSpec, changed(SPEC, **changes))


def test_a_document_without_its_version_is_refused() -> None:
    document = json.loads(to_json(RESULT))
    del document["schema_version"]
    with pytest.raises(DocumentError, match="schema_version None"):
        from_json(StepResult, json.dumps(document))
