"""``register_model``: what a script asks to register, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.records import OutputSpec, Registration
from airflow_mlpipe.runtime import Run
from airflow_mlpipe.runtime.model_requests import RequestedModel
from airflow_mlpipe.runtime.registrations import registrations_in
from airflow_mlpipe.runtime.script_models import Model


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    (folder / "outputs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(attempt: Any, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "fitted").mkdir()
    outputs = {"fitted": OutputSpec(str(tmp_path / "fitted"), create=True)}
    spec = attempt.spec("true", working_directory=str(work), outputs=outputs)
    monkeypatch.setenv("MLPIPE_SPEC", str(attempt.write(spec)))
    return Run.get_context()


def test_a_model_in_outputs_is_asked_for_with_all_that_was_said_of_it(run: Run, attempt: Any) -> None:
    Path("outputs/model.pkl").write_text("model")
    model = run.register_model(
        "digits", "outputs/model.pkl", {"area": "vision", "epochs": 3}, {"auc": 0.9}, description="the best",
        model_framework="ScikitLearn", model_framework_version="1.5", datasets=[("training", object())],
    )  # fmt: skip
    assert (model.name, model.version, model.id) == ("digits", None, "digits")
    assert registrations_in(attempt.directory) == [
        Registration(
            "model", "digits", None, "outputs/model.pkl", "the best", {"area": "vision", "epochs": "3"},
            {"auc": "0.9"},
        )
    ]  # fmt: skip


def test_a_model_may_be_a_folder_an_uploaded_file_or_part_of_an_output(
    run: Run, attempt: Any, tmp_path: Path
) -> None:
    Path("outputs/net").mkdir()
    Path("outputs/net/weights").write_text("w")
    Path("weights").write_text("w")
    (tmp_path / "fitted/model.pkl").write_text("model")
    run.upload_file("kept/weights", "weights")
    run.register_model(model_name="net", model_path="outputs/net")
    run.register_model(model_name="kept", model_path="kept/weights")
    run.register_model(model_name="fitted", model_path=str(tmp_path / "fitted/model.pkl"))
    run.register_model(model_name="whole", model_path=str(tmp_path / "fitted"))
    assert [(item.output, item.inside) for item in registrations_in(attempt.directory)] == [
        (None, "outputs/net"),
        (None, "kept/weights"),
        ("fitted", "model.pkl"),
        ("fitted", ""),
    ]


def test_without_a_path_the_model_is_the_kept_file_of_its_name(run: Run, attempt: Any) -> None:
    Path("weights").write_text("w")
    run.upload_file("digits", "weights")
    run.register_model("digits")
    assert registrations_in(attempt.directory)[0].inside == "digits"


def test_a_model_that_the_run_does_not_have_is_refused(run: Run, attempt: Any) -> None:
    Path("model.pkl").write_text("not kept with the run")
    with pytest.raises(UserError, match=r"'model\.pkl', which is neither .* the run has: 'fitted'"):
        run.register_model("digits", "model.pkl")
    assert registrations_in(attempt.directory) == []


def test_a_name_that_no_model_may_have_is_refused_before_the_step_ends(run: Run) -> None:
    Path("outputs/model.pkl").write_text("model")
    with pytest.raises(UserError, match="model name 'my digits' is not valid"):
        run.register_model("my digits", "outputs/model.pkl")


def test_a_local_file_is_kept_with_the_run_unless_it_is_already(
    run: Run, attempt: Any, tmp_path: Path
) -> None:
    Path("outputs/a.pkl").write_text("a")
    Path("b.pkl").write_text("b")
    (tmp_path / "fitted/c.pkl").write_text("c")
    for path in ("outputs/a.pkl", "b.pkl", str(tmp_path / "fitted/c.pkl")):
        Model.register(workspace=None, model_path=path, model_name="digits", tags={"n": 1})
    assert [(item.output, item.inside) for item in registrations_in(attempt.directory)] == [
        (None, "outputs/a.pkl"),
        (None, "models/digits/b.pkl"),
        ("fitted", "c.pkl"),
    ]
    assert (attempt.directory / "files/models/digits/b.pkl").read_text() == "b"
    with pytest.raises(UserError, match=r"there is no file or folder 'gone\.pkl'"):
        Model.register(None, "gone.pkl", "digits")


def test_the_run_itself_takes_a_file_from_anywhere_as_well(run: Run, attempt: Any, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_text("net")
    asked = RequestedModel("digits", "the best")
    assert run.register_local_model(asked, str(tmp_path / "net.pkl")) is asked
    (registration,) = registrations_in(attempt.directory)
    assert (registration.name, registration.description) == ("digits", "the best")
    assert Path(run.download_file(registration.inside)).read_text() == "net"


def test_a_file_that_was_written_anew_is_not_registered_as_two_models(run: Run, attempt: Any) -> None:
    path = Path("outputs/model.pkl")
    for content in ("1", "better"):
        path.write_text(content)
        Model.register(None, "outputs/model.pkl", "first")
    Model.register(None, "outputs/model.pkl", "same")
    path.write_text("another one")
    for name in ("second", "same"):
        with pytest.raises(UserError, match="was to be registered as model 'first', and was written anew"):
            run.register_model(name, "outputs/model.pkl")
    names = [item.name for item in registrations_in(attempt.directory)]
    assert names == ["first", "first", "same"]


def test_an_empty_folder_is_no_model(run: Run) -> None:
    Path("empty").mkdir()
    with pytest.raises(UserError, match="the folder 'empty' has no files"):
        Model.register(None, "empty", "net")


def test_outside_a_pipeline_a_registration_is_said(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLPIPE_SPEC", raising=False)
    Path("outputs/model.pkl").write_text("model")
    Run.get_context().register_model("digits", "outputs/model.pkl")
    assert capsys.readouterr().out == ("Offline run, nothing is stored: model digits = outputs/model.pkl\n")


def test_a_line_that_is_no_registration_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "registrations.jsonl").write_text('{"kind": "model"}\n')
    with pytest.raises(DocumentError, match="Registration"):
        registrations_in(tmp_path)
