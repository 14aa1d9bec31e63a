"""What a script learns of its run, what it tells of it, and what is kept."""

from __future__ import annotations

import json

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow


def test_a_script_knows_its_run_its_parent_and_its_experiment(dags: DagFiles) -> None:
    dags.script(
        "ask.py",
        """
        import json, sys
        from airflow_mlpipe import Run
        run = Run.get_context()
        run.tag("stage", "trial")
        known = {"id": run.id, "parent": run.parent.id, "experiment": run.experiment.name, "tags": run.tags}
        open(sys.argv[1], "w").write(json.dumps(known))
    """,
    )
    dags.dag("""
        step("ask", PipelineData("said"))
        step("named", PipelineData("said"), script="ask.py", experiment="digits", reuse_version="2")
    """)
    run = dags.run()
    known, named = (json.loads(run.read(key, "said")) for key in ("ask", "named"))
    assert known == {
        "id": run.decision("ask")["attempt"],
        "parent": run.run_id,
        "experiment": dags.dag_id(),
        "tags": {"stage": "trial"},
    }
    assert named["experiment"] == "digits"
    assert dags.manifest(run, "ask").tags == {"stage": "trial"}
    assert dags.manifest(run, "named").producer.experiment == "digits"


def test_metrics_are_in_the_return_value_and_in_the_manifest_and_come_back_on_reuse(dags: DagFiles) -> None:
    dags.script(
        "train.py",
        """
        import sys
        from airflow_mlpipe import Run
        run = Run.get_context()
        run.log("accuracy", 0.9)
        for loss in (3, 2, 1):
            run.log("loss", loss)
        run.log_list("sizes", [1, 2])
        run.log_row("confusion", actual=1, predicted=2)
        run.log_row("confusion", actual=3, predicted=4)
        run.parent.log("best", 0.9)
        assert run.get_metrics()["loss"] == [3, 2, 1]
        run.complete()
        open(sys.argv[1], "w").write("model")
    """,
    )
    dags.dag('step("train", PipelineData("model"))')
    first, second = dags.run(), dags.run()
    assert first.returned("train")["metrics"] == {
        "accuracy": 0.9,
        "loss": [3, 2, 1],
        "sizes": [1, 2],
        "confusion": {"actual": [1, 3], "predicted": [2, 4]},
    }
    assert second.actions == {"train": "reused"}
    assert second.returned("train") == first.returned("train")
    manifest = dags.manifest(first, "train")
    assert manifest.results == first.returned("train")["metrics"]
    assert manifest.parent_metrics == {"best": 0.9}


def test_the_metrics_of_one_step_are_an_argument_of_another(dags: DagFiles) -> None:
    dags.script(
        "train.py",
        """
        import sys
        from airflow_mlpipe import Run
        Run.get_context().log("accuracy", 0.9)
    """,
    )
    dags.script("show.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag("""
        accuracy = "{{ ti.xcom_pull('train')['metrics']['accuracy'] }}"
        step("show", accuracy, PipelineData("said")).run_after(step("train"))
    """)
    assert dags.run().read("show", "said") == "0.9"


def test_what_a_script_leaves_in_its_outputs_folder_is_kept_with_the_run(dags: DagFiles) -> None:
    dags.script(
        "train.py",
        """
        import os, sys
        os.makedirs("outputs/plots")
        open("outputs/plots/loss.txt", "w").write("a plot")
        open(sys.argv[1], "w").write("model")
    """,
    )
    dags.dag('step("train", PipelineData("model"))')
    run = dags.run()
    assert (dags.attempt_path(run, "train") / "files/outputs/plots/loss.txt").read_text() == "a plot"


def test_a_script_works_in_a_copy_of_its_code(dags: DagFiles) -> None:
    dags.script(
        "train.py",
        """
        import os, sys
        assert open("settings.json").read() == "{}"
        open("settings.json", "w").write("changed")
        open("scratch.txt", "w").write("x")
        open(sys.argv[1], "w").write(os.getcwd())
    """,
    )
    settings = dags.script("settings.json", "{}")
    dags.dag('step("train", PipelineData("said"))')
    run = dags.run()
    assert run.state == "success", run.text
    assert settings.read_text() == "{}"
    assert not (dags.folder / "src/scratch.txt").exists()
    assert run.read("train", "said") != str(dags.folder / "src")


def test_the_links_lead_to_the_manifest_and_from_a_reuse_to_the_producer(dags: DagFiles) -> None:
    dags.script("train.py", "import sys; open(sys.argv[1], 'w').write('model')")
    dags.dag('step("train", PipelineData("model"))')
    first, second = dags.run(), dags.run()
    fingerprint = first.decision("train")["fingerprint"]
    link = first.xcoms["train"]["_link_ManifestLink"]
    assert link == f"/mlpipe/dags/{dags.dag_id()}/manifests/{fingerprint}"
    assert "_link_ProducerLink" not in first.xcoms["train"]
    run_id = first.run_id.replace(":", "%3A").replace("+", "%2B")
    link = second.xcoms["train"]["_link_ProducerLink"]
    assert link == f"/dags/{dags.dag_id()}/runs/{run_id}/tasks/train"
    assert "_link_ManifestLink" not in second.xcoms["train"]


def test_there_is_no_link_to_a_manifest_that_was_never_sealed(dags: DagFiles) -> None:
    dags.script("train.py", "import sys; open(sys.argv[1], 'w').write('model')")
    dags.dag('step("train", PipelineData("model"))')
    xcoms = dags.run(mlpipe={"reuse": "bypass"}).xcoms["train"]
    assert xcoms["model"]
    assert "_link_ManifestLink" not in xcoms


def test_the_manifest_says_from_what_the_outputs_were_made(dags: DagFiles) -> None:
    dags.script("train.py", "import sys; open(sys.argv[3], 'w').write('model')")
    dags.dag('step("train", "--lr", 0.1, PipelineData("model"))')
    run = dags.run()
    manifest = dags.manifest(run, "train")
    assert manifest.recipe["arguments"] == ["--lr", "0.1", {"output": "model"}]
    assert manifest.producer.run_id == run.run_id
    assert manifest.started_at <= manifest.finished_at <= manifest.sealed_at
    assert manifest.snapshot is not None
    assert str(dags.folder) not in json.dumps(manifest.recipe)
