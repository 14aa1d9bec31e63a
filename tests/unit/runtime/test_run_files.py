"""The files that a script gives to its run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime import Run
from airflow_mlpipe.runtime.named_values import UnknownNameError


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script's working directory, which is the current one."""
    folder = tmp_path / "code"
    (folder / "outputs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(attempt: Any, work: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    spec = attempt.spec("true", working_directory=str(work))
    monkeypatch.setenv("MLPIPE_SPEC", str(attempt.write(spec)))
    return Run.get_context()


@pytest.fixture
def offline(work: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("MLPIPE_SPEC", raising=False)
    return Run.get_context()


def test_an_uploaded_file_is_kept_as_it_was_then(run: Run, attempt: Any, work: Path) -> None:
    (work / "notes.txt").write_text("first")
    run.upload_file("reports/notes.txt", "notes.txt")
    (work / "notes.txt").write_text("second")
    assert (attempt.directory / "files/reports/notes.txt").read_text() == "first"


def test_a_name_is_given_once(run: Run, attempt: Any, work: Path) -> None:
    (work / "a").write_text("a")
    (work / "b").write_text("b")
    run.upload_file("notes", "a")
    with pytest.raises(UserError, match="has kept a file 'notes' already"):
        run.upload_file("notes", "b")
    assert (attempt.directory / "files/notes").read_text() == "a"
    assert run.get_file_names() == ["notes"]


def test_a_name_in_outputs_is_the_place_in_the_working_directory(run: Run, work: Path) -> None:
    (work / "model.txt").write_text("model")
    run.upload_file("outputs/model.txt", "model.txt")
    run.upload_file("./outputs/model.txt", "outputs/model.txt")  # there already, as scripts of v1 do it
    assert (work / "outputs/model.txt").read_text() == "model"
    assert run.get_file_names() == ["outputs/model.txt"]


@pytest.mark.parametrize("name", ["/etc/notes", "../notes", "a/../../b", "", ".", "a\\b", "a\nb"])
def test_a_name_that_leads_out_of_the_run_is_refused(run: Run, work: Path, name: str) -> None:
    (work / "a").write_text("a")
    with pytest.raises(UserError, match="cannot be the name of a kept file"):
        run.upload_file(name, "a")


def test_a_file_that_is_not_there_is_refused_by_its_name(run: Run) -> None:
    with pytest.raises(UserError, match=r"'notes' cannot be kept: gone.txt is no file"):
        run.upload_file("notes", "gone.txt")


def test_several_files_and_a_folder_are_kept(run: Run, work: Path) -> None:
    for name in ("a", "deep/b", "deep/deeper/c"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    run.upload_files(["x", "y"], ["a", "deep/b"])
    run.upload_folder("outputs/kept", "deep")
    assert run.get_file_names() == ["outputs/kept/b", "outputs/kept/deeper/c", "x", "y"]
    with pytest.raises(UserError, match="1 names for 2 paths"):
        run.upload_files(["z"], ["a", "deep/b"])
    with pytest.raises(UserError, match="'a' is no folder"):
        run.upload_folder("z", "a")


def test_kept_files_come_back(run: Run, work: Path, tmp_path: Path) -> None:
    (work / "a").write_text("a")
    run.upload_files(["plots/one", "plots/two"], ["a", "a"])
    assert Path(run.download_file("plots/one", str(tmp_path / "new/copy"))).read_text() == "a"
    assert run.download_file("plots/one") == "one"
    there = run.download_files("plots/", str(tmp_path / "all"), append_prefix=False)
    assert there == [str(tmp_path / "all/one"), str(tmp_path / "all/two")]
    assert run.download_files("plots/", str(tmp_path))[0] == str(tmp_path / "plots/one")
    with pytest.raises(UnknownNameError, match="no file 'plots/three'; it has: 'plots/one', 'plots/two'"):
        run.download_file("plots/three")


# -- pictures and charts -----------------------------------------------------------------------------


class Plot:
    """What ``log_image`` asks of matplotlib."""

    def savefig(self, path: Path, format: str) -> None:
        Path(path).write_text(f"a picture as {format}")


def test_a_plot_is_kept_as_a_png_and_named_in_the_metrics(run: Run, attempt: Any) -> None:
    run.log_image("roc", plot=Plot())
    run.log_image("roc", plot=Plot(), description="again")
    assert run.get_metrics("roc") == {"roc": ["roc.png", "roc_2.png"]}
    assert (attempt.directory / "files/roc_2.png").read_text() == "a picture as png"


def test_a_real_figure_becomes_a_png(run: Run, attempt: Any) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    run.log_image("loss", plot=figure)
    assert (attempt.directory / "files/loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_file_keeps_its_kind(run: Run, work: Path) -> None:
    (work / "tree.jpg").write_bytes(b"jpeg")
    run.log_image("tree", path="tree.jpg")
    run.parent.log_image("tree.jpg", "tree.jpg")
    assert run.get_metrics() == {"tree": "tree.jpg"}
    assert run.parent.get_metrics() == {"tree.jpg": "tree_2.jpg"}


def test_a_picture_is_a_file_or_a_plot(run: Run) -> None:
    for given in ({}, {"path": "a.png", "plot": Plot()}):
        with pytest.raises(TypeError, match="either path= or plot="):
            run.log_image("roc", **given)


def test_a_chart_is_kept_as_json(run: Run, attempt: Any) -> None:
    matrix = {"schema_type": "confusion_matrix", "schema_version": "v1", "data": {"matrix": [[9, 1], [0, 8]]}}
    run.log_confusion_matrix("confusion", matrix)
    run.log_residuals("errors", json.dumps({"schema_type": "residuals", "data": {"bin_edges": [0, 1]}}))
    assert run.get_metrics() == {"confusion": "confusion.json", "errors": "errors.json"}
    assert json.loads((attempt.directory / "files/confusion.json").read_text()) == matrix


def test_a_chart_of_another_kind_is_refused(run: Run) -> None:
    with pytest.raises(
        TypeError, match=r"log_predictions\('p'\) takes a dict .* 'schema_type': 'predictions'"
    ):
        run.log_predictions("p", {"schema_type": "residuals", "data": {}})
    with pytest.raises(TypeError, match="log_accuracy_table"):
        run.log_accuracy_table("t", [1, 2])


# -- outside a pipeline ------------------------------------------------------------------------------


def test_outside_a_pipeline_nothing_is_kept_and_all_is_said(
    offline: Run, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "a.txt").write_text("a")
    offline.upload_file("notes/a.txt", "a.txt")
    offline.log_image("roc", plot=Plot())
    assert capsys.readouterr().out.splitlines()[0] == (
        "Offline run, nothing is stored: file notes/a.txt = a.txt"
    )
    assert offline.get_file_names() == ["notes/a.txt", "roc.png"]
    assert offline.get_metrics() == {"roc": "roc.png"}
    assert Path(offline.download_file("notes/a.txt", str(work / "b.txt"))).read_text() == "a"
    assert sorted(path.name for path in work.iterdir()) == ["a.txt", "b.txt", "outputs"]
