"""``Run.get_context()`` in a script, with and without a pipeline around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_mlpipe
from airflow_mlpipe.errors import DocumentError, MLPipeError, UserError
from airflow_mlpipe.records import InputSpec, OutputSpec, Pin
from airflow_mlpipe.runtime import Run
from airflow_mlpipe.runtime.metrics import collect
from airflow_mlpipe.runtime.refused import UnsupportedError
from airflow_mlpipe.runtime.tabular import TabularDataset
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle


@pytest.fixture
def run(attempt: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    spec = attempt.spec(
        "true",
        inputs={
            "raw": InputSpec("file", ["/data/raw"]),
            "table": InputSpec("tabular", ["/data/a.csv"], {"format": "delimited"}),
        },
        outputs={"model": OutputSpec("/out/model", create=False)},
    )
    monkeypatch.setenv("MLPIPE_SPEC", str(attempt.write(spec)))
    return Run.get_context()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("MLPIPE_SPEC", raising=False)
    return Run.get_context()


def test_a_run_knows_who_it_is(run: Run) -> None:
    assert (run.id, run.experiment.name, run.parent.id, run.try_number) == ("run-1", "digits", "manual-1", 2)


def test_a_file_input_is_its_path_and_a_tabular_one_a_dataset(run: Run) -> None:
    assert run.input_datasets["raw"] == "/data/raw"
    table = run.input_datasets["table"]
    assert isinstance(table, TabularDataset)
    assert table.name == "table"
    assert list(run.input_datasets) == ["raw", "table"]


def test_an_output_is_its_path(run: Run) -> None:
    assert dict(run.output_datasets) == {"model": "/out/model"}


def test_an_unknown_name_is_a_key_error_that_lists_the_names(run: Run, offline: Run) -> None:
    with pytest.raises(KeyError) as caught:
        run.input_datasets["rww"]
    assert isinstance(caught.value, MLPipeError)
    assert str(caught.value) == "this step has no input named 'rww'; it has: 'raw', 'table'"
    with pytest.raises(KeyError, match="no output named 'model'; it has: none at all"):
        offline.output_datasets["model"]
    assert run.input_datasets.get("rww") is None
    assert "rww" not in run.input_datasets


def test_what_is_logged_is_collected(run: Run, attempt: Any) -> None:
    run.log("loss", 0.5)
    run.log("loss", float("nan"), description="diverged")
    run.log_list("folds", (0.1, 0.2))
    run.log_row("roc", fpr=0.1, tpr=0.9)
    run.log_row("roc", description="the curve", fpr=0.2, tpr=1.0)
    run.log_table("confusion", {"cat": [9, 1], "dog": [0, 8]})
    run.tag("best")
    run.tag("epochs", 3)
    run.parent.log("loss", 1)
    run.parent.log_list("all", [1, 2])
    run.parent.log_row("steps", name_of_step="train")
    run.parent.tag("owner", "me")
    run.complete()
    collected = collect(attempt.directory / "metrics.jsonl")
    assert collected.metrics == {
        "loss": [0.5, "NaN"],
        "folds": [0.1, 0.2],
        "roc": {"fpr": [0.1, 0.2], "tpr": [0.9, 1.0]},
        "confusion": {"cat": [9, 1], "dog": [0, 8]},
    }
    assert collected.parent_metrics == {"loss": 1, "all": [1, 2], "steps": {"name_of_step": ["train"]}}
    assert (collected.tags, collected.parent_tags) == ({"best": "", "epochs": "3"}, {"owner": "me"})
    assert run.get_metrics() == collected.metrics
    assert run.tags == {"team": "vision", "best": "", "epochs": "3"}


def test_tags_and_properties_are_told_together_and_a_property_stays(run: Run, attempt: Any) -> None:
    run.set_tags({"stage": "trial", "epochs": 3})
    run.set_tags({"stage": "final"})
    run.add_properties({"commit": "c0ffee"})
    run.add_properties({"commit": "c0ffee", "seed": 7})
    run.parent.add_properties({"owner": "me"})
    with pytest.raises(UserError, match="property 'commit' is 'c0ffee', and a property stays as it is"):
        run.add_properties({"commit": "other"})
    assert run.get_tags() == {"team": "vision", "stage": "final", "epochs": "3"}
    assert run.get_properties() == run.properties == {"commit": "c0ffee", "seed": "7"}
    assert run.parent.get_properties() == {"owner": "me"}
    assert collect(attempt.directory / "metrics.jsonl").properties == run.properties


def test_one_metric_is_asked_for_by_its_name(run: Run) -> None:
    run.log("loss", 0.5)
    run.log("auc", 0.9)
    assert run.get_metrics("auc", recursive=True) == run.get_metrics(name="auc") == {"auc": 0.9}
    assert run.get_metrics("gone") == {}


def test_logging_prints_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log("loss", 0.5)
    assert capsys.readouterr() == ("", "")


def test_the_details_have_their_v1_names(run: Run) -> None:
    details = run.get_details()
    assert (details["runId"], details["status"], details["tags"]) == ("run-1", "Running", {"team": "vision"})


def test_a_run_is_running_as_long_as_its_script_can_ask(run: Run) -> None:
    assert (run.name, run.get_status(), run.parent.status, run.get_portal_url()) == (
        "train", "Running", "Running", ""
    )  # fmt: skip


def test_registered_data_is_found_by_its_name_and_by_the_name_of_the_input(
    attempt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = attempt.spec("true", inputs={"x": InputSpec("file", ["/data/m"], pin=Pin("model", "my-model", 3))})
    monkeypatch.setenv("MLPIPE_SPEC", str(attempt.write(spec)))
    run = Run.get_context()
    assert run.input_datasets["my-model"] == run.input_datasets["x"] == "/data/m"
    assert list(run.input_datasets) == ["x"]
    model = run.experiment.workspace.models["my-model"]
    assert (model.id, model.name, model.version) == ("my-model:3", "my-model", 3)


def test_a_script_that_says_it_failed_fails(run: Run) -> None:
    with pytest.raises(UserError, match="its run failed: E42: no data"):
        run.fail(error_details="no data", error_code="E42")
    with pytest.raises(UserError, match="cancelled its run"):
        run.cancel()
    run.start()
    run.flush()


@pytest.mark.parametrize("name", ["child_run", "create_children", "submit_child", "wait_for_completion"])
def test_what_a_run_of_v1_had_besides_is_not_there_and_says_what_to_do(run: Run, name: str) -> None:
    assert not hasattr(run, name)
    with pytest.raises(UnsupportedError, match=rf"Run\.{name} is not supported in a step: \w+"):
        getattr(run, name)


def test_a_url_is_opened_by_fsspec(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes")
    with run.open(f"file://{tmp_path}/notes", "r") as stream:
        assert stream.read() == "notes"
    filesystem, path = Run.filesystem(f"file://{tmp_path}")
    assert f"{tmp_path}/notes" in filesystem.ls(path, detail=False)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_metric_needs_a_name(run: Run, name: Any) -> None:
    with pytest.raises(TypeError, match="must be a text that is not empty"):
        run.log(name, 1)


def test_outside_a_pipeline_the_same_calls_print(offline: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (offline.id, offline.parent.id, offline.input_datasets) == ("OfflineRun", "offline", {})
    offline.log("lr", 0.1)
    offline.log_row("roc", fpr=0.1)
    offline.parent.tag("owner", "me")
    assert capsys.readouterr().out.splitlines() == [
        "Offline run, nothing is stored: scalar metric lr = 0.1",
        "Offline run, nothing is stored: table metric roc = {'fpr': [0.1]}",
        "Offline run, nothing is stored: the parent run's tag owner = 'me'",
    ]
    assert offline.get_metrics() == {"lr": 0.1, "roc": {"fpr": [0.1]}}


def test_a_script_may_insist_on_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPIPE_SPEC", raising=False)
    with pytest.raises(UserError, match="this process belongs to no run"):
        Run.get_context(allow_offline=False)


def test_a_run_that_cannot_be_read_is_an_error_not_an_offline_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPIPE_SPEC", "/no/such/spec.json")
    with pytest.raises(DocumentError, match="MLPIPE_SPEC names '/no/such/"):
        Run.get_context()


# -- in other interpreters ---------------------------------------------------------------------------

SCRIPT = """
from airflow_mlpipe import Run
run = Run.get_context()
run.log("version", __import__("sys").version_info[1])
run.parent.log("seen", True)
print(run.id, run.input_datasets["raw"])
"""


def run_script_from_a_bundle(attempt: Any, cache: Path, *python: str) -> None:
    bundle = runtime_bundle(cache)
    spec = attempt.spec(*python, "-c", SCRIPT, inputs={"raw": InputSpec("file", ["/data/raw"])})
    command = [sys.executable, "-E", "-s", "-S", "-m", "airflow_mlpipe.runtime", str(attempt.write(spec))]
    subprocess.run(command, cwd=bundle, check=True)
    assert attempt.log.read_text() == "run-1 /data/raw\n"
    assert attempt.result().status == "succeeded"


def test_a_script_in_a_bare_virtual_environment_has_a_run(attempt: Any, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    run_script_from_a_bundle(attempt, tmp_path / "cache", str(bare / "bin" / "python"))


def test_a_script_without_site_packages_has_a_run(attempt: Any, tmp_path: Path) -> None:
    run_script_from_a_bundle(attempt, tmp_path / "cache", sys.executable, "-S")


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_a_script_in_every_supported_python_has_a_run(attempt: Any, tmp_path: Path, version: str) -> None:
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"there is no Python {version} in ~/.pyenv")
    run_script_from_a_bundle(attempt, tmp_path / "cache", str(found[-1]))
    assert collect(attempt.directory / "metrics.jsonl").metrics == {"version": int(version[2:])}


@pytest.mark.parametrize("module", ["airflow_mlpipe.runtime", "airflow_mlpipe.runtime.supervisor"])
def test_importing_the_runtime_loads_only_the_standard_library(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    root = str(Path(airflow_mlpipe.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"airflow", "pydantic", "fsspec", "psutil", "pandas", "numpy"}


@pytest.mark.parametrize("name", ["run", "supervisor", "metrics", "tabular", "process_tree", "documents"])
def test_the_runtime_imports_without_any_installed_package(name: str) -> None:
    root = Path(airflow_mlpipe.__file__).parents[1]
    code = f"import airflow_mlpipe.runtime.{name}"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(root)!r}); {code}"], check=True
    )
