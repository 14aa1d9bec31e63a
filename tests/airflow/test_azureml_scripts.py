"""Scripts of SDK v1 as steps: ``azureml`` is found when the step's interpreter has none."""

from __future__ import annotations

import json

import pytest

from airflow_mlpipe.store.datastore import Datastore
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

TRAIN = """
    import argparse, os
    from azureml.core import Run

    parser = argparse.ArgumentParser()
    parser.add_argument("--auc", type=float)
    parser.add_argument("--model")
    args = parser.parse_args()
    run = Run.get_context()
    run.log("auc", args.auc)
    run.tag("kind", run.name)
    os.makedirs(args.model)
    open(os.path.join(args.model, "model.txt"), "w").write(str(args.auc))
"""
PICK = """
    import sys
    from azureml.core import Run
    from azureml.core.model import Model

    run = Run.get_context()
    children = {child.name: child for child in run.parent.get_children()}
    best = max(children.values(), key=lambda child: child.get_metrics().get("auc", 0))
    open(sys.argv[1], "w").write(f"{best.name} {best.tags['kind']} {best.get_status()} {sorted(children)}")
"""


def test_a_pipeline_of_v1_scripts_runs_unmodified_and_is_reused(dags: DagFiles) -> None:
    dags.script("train.py", TRAIN)
    dags.script("pick.py", PICK)
    dags.dag("""
        good, bad = PipelineData("good"), PipelineData("bad")
        trained = [
            step("train_good", "--auc", 0.9, "--model", good, script="train.py", outputs=[good]),
            step("train_bad", "--auc", 0.6, "--model", bad, script="train.py", allow_reuse=False),
        ]
        step("pick", PipelineData("best")).run_after(*trained)
    """)
    first, second = dags.run(), dags.run()
    assert first.state == second.state == "success", first.text
    assert first.read("pick", "best") == "train_good train_good Completed ['train_bad', 'train_good']"
    assert second.read("pick", "best") == first.read("pick", "best")
    assert second.actions == {"train_good": "reused", "train_bad": "ran", "pick": "ran"}
    assert second.decision("pick")["kinds"] == ["undetermined"]
    assert "uses get_children, and what other steps logged is no declared input" in second.text
    environment = dags.manifest(first, "train_good").recipe["environment"]
    assert environment["azureml_compat"] == 1
    assert "missing:azureml" not in environment["distributions"]


def test_the_stand_in_is_there_as_the_author_says(dags: DagFiles) -> None:
    dags.script("plain.py", "import azureml.core")
    dags.file("hidden/dynamic.py", "import importlib; importlib.import_module('azureml' + '.core')")
    dags.dag("""
        hidden = {"script_name": "dynamic.py", "source_directory": "hidden"}
        PythonScriptStep(task_id="on", azureml_compat=True, **hidden)
        PythonScriptStep(task_id="unseen", **hidden)
        step("off", script="plain.py", azureml_compat=False)
    """)
    run = dags.run()
    assert run.states == {"on": "success", "unseen": "failed", "off": "failed"}
    assert run.text.count("ModuleNotFoundError: No module named 'azureml'") >= 2


def test_on_a_remote_store_the_files_of_a_run_and_what_it_logged_are_kept(
    dags: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Datastore.open(f"memory://{dags.dag_id('kept')}")
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", store.url)
    dags.script(
        "train.py",
        """
        import sys
        from azureml.core import Run
        run = Run.get_context()
        run.log("auc", 0.9)
        open("notes.txt", "w").write("notes")
        run.upload_file("reports/notes.txt", "notes.txt")
        run.upload_file("outputs/left.txt", "notes.txt")
        open(sys.argv[1], "w").write("model")
    """,
    )
    dags.dag('step("train", PipelineData("model"))')
    run = dags.run()
    assert run.state == "success", run.text
    attempt = f"mlpipe/v1/attempts/{run.decision('train')['attempt']}"
    assert store.read(f"{attempt}/files/reports/notes.txt") == b"notes"
    assert store.read(f"{attempt}/files/outputs/left.txt") == b"notes"
    logged = store.read(f"{attempt}/metrics.jsonl")
    assert logged is not None
    assert json.loads(logged)["value"] == 0.9
