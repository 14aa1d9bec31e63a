"""Registered datasets and models in runs: what a run registers, and which version a run reads."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from airflow_mlpipe import explain, plan
from airflow_mlpipe.store.registry import DatasetVersion, ModelVersion, Registry
from tests.airflow.harness import BUNDLE, DagFiles, rewrite

pytestmark = pytest.mark.airflow

# Writes its second argument into the folder that is its first.
MAKE = """
    import sys
    from pathlib import Path
    Path(sys.argv[1], "part.csv").write_text(sys.argv[2])
"""
# Writes what it finds below its first argument to its second.
READ = """
    import sys
    from pathlib import Path
    given = Path(sys.argv[1])
    files = sorted(given.rglob("*.*")) if given.is_dir() else [given]
    Path(sys.argv[2]).write_text(" ".join(file.read_text() for file in files))
"""
PIPELINE = """
    made = OutputFileDatasetConfig("made").register_on_complete("raw", "rows", {"kind": "daily"})
    make = step("make", made, PipelineParameter("text", "one"))
    read = step("read", Dataset.get_by_name("raw").as_mount(), PipelineData("said"))
    make >> read
"""


def datasets(dags: DagFiles) -> Registry[DatasetVersion]:
    return Registry(dags.datastore, DatasetVersion)


def models(dags: DagFiles) -> Registry[ModelVersion]:
    return Registry(dags.datastore, ModelVersion)


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    """A DAG with a step that registers what it makes, and one that reads the latest version of that."""
    dags.script("make.py", MAKE)
    dags.script("read.py", READ)
    dags.dag(PIPELINE, options='params={"text": "one"}')
    return dags


def test_new_bytes_make_a_version_which_the_next_step_reads_and_pins(pipeline: DagFiles) -> None:
    first = pipeline.run()
    assert first.read("read", "said") == "one"
    assert pipeline.manifest(first, "read").pins["raw"].version == 1
    version = datasets(pipeline).latest("raw")
    assert version is not None
    assert (version.description, version.tags) == ("rows", {"kind": "daily"})
    assert version.lineage is not None
    assert version.lineage.producer == pipeline.manifest(first, "make").producer.instance

    assert pipeline.run().actions == {"make": "reused", "read": "reused"}
    assert pipeline.run(mlpipe={"reuse": "refresh"}).actions == {"make": "ran", "read": "ran"}
    assert datasets(pipeline).versions("raw") == [1]  # the same bytes, reused or made again

    changed = pipeline.run(text="two")
    assert changed.read("read", "said") == "two"
    assert "raw version 2" in changed.text
    assert pipeline.manifest(changed, "read").pins["raw"].version == 2
    why = explain(pipeline.dag_id(), changed.run_id, "read")
    (change,) = why.changes
    assert change.versions == "raw version 1 -> 2"
    assert [cause.made_by.task_id for cause in change.causes] == ["make"]


def test_a_plan_tells_the_version_that_would_be_read_as_far_as_it_is_known(pipeline: DagFiles) -> None:
    bag = BundleDagBag(str(pipeline.folder), bundle_path=pipeline.folder, bundle_name=BUNDLE)
    dag = bag.dags[pipeline.dag_id()]
    first = plan(dag).steps[1]
    assert (first.action, first.reason) == ("unknown", "until make is done")
    pipeline.run()
    known = plan(dag).steps[1]
    assert (known.action, known.pins) == ("reuse", {"raw": "raw version 1"})
    changed = plan(dag, {"text": "two"}).steps[1]
    assert (changed.action, changed.waits_for) == ("unknown", ("make",))


def test_what_a_kill_left_unregistered_is_registered_by_the_run_that_reuses_it(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.datastore.delete_tree("mlpipe/v1/datasets")
    pipeline.datastore.delete_tree("mlpipe/v1/registered")
    assert pipeline.run().actions == {"make": "reused", "read": "reused"}
    assert datasets(pipeline).versions("raw") == [1]


def test_a_run_that_stores_nothing_registers_nothing(pipeline: DagFiles) -> None:
    run = pipeline.run(mlpipe={"reuse": "bypass"})
    assert run.states == {"make": "success", "read": "failed"}
    assert "Not registered: raw, because the run's configuration says bypass" in run.text
    assert "no dataset 'raw' is registered" in run.text


def test_outputs_of_inputs_that_changed_under_the_step_are_not_registered(dags: DagFiles) -> None:
    data = dags.file("data.txt", "one")
    dags.script("make.py", f"import sys, pathlib\npathlib.Path({str(data)!r}).write_text('two!')\n")
    dags.dag("""
        made = OutputFileDatasetConfig("made").register_on_complete("raw")
        step("make", made, inputs=[Dataset.File.from_files("data.txt")])
    """)
    run = dags.run()
    assert run.state == "success", run.text
    assert "Not registered: raw, because input input was changed since it was hashed" in run.text
    assert datasets(dags).versions("raw") == []


def test_data_that_changed_since_it_was_registered_is_said_to_have(dags: DagFiles) -> None:
    data = dags.file("data.txt", "one")
    dags.script("read.py", READ)
    dags.dag(
        f"""
        @task
        def register():
            return Dataset.File.from_files({str(data)!r}).register("raw", tags={{"of": "today"}}).version
        raw = Dataset.get_by_name("raw", version=1)
        read = step("read", raw, PipelineData("said"))
        believed = Dataset.get_by_name("raw", version=1, identity="version")
        register() >> [read, step("believe", believed, PipelineData("said"), script="read.py")]
    """,
    )
    first = dags.run()
    assert (first.returned("register"), first.read("read", "said")) == (1, "one")
    by = datasets(dags).latest("raw")
    assert by is not None
    assert by.registered_by == f"{dags.dag_id()}/{first.run_id}/register"

    rewrite(data, "two")
    second = dags.run()
    assert second.actions == {"read": "ran", "believe": "reused"}
    assert second.decision("read")["reason"].endswith("; raw version 1 has changed since it was registered")


def test_a_model_that_a_script_asks_for_is_registered_and_found_by_other_steps(dags: DagFiles) -> None:
    dags.script(
        "train.py",
        """
        import sys
        from pathlib import Path
        from airflow_mlpipe import Run
        Path("outputs/digits.bin").write_bytes(sys.argv[1].encode())
        run = Run.get_context()
        run.register_model("digits", "outputs/digits.bin", tags={"accuracy": "0.9"}, properties={"a": "b"})
        """,
    )
    dags.script("read.py", READ)
    dags.file("rows.csv", "1")
    dags.dag(
        """
        @task
        def register(model):
            return str(Model.register("copied", model).version)
        made = PipelineData("made")
        rows = Dataset.File.from_files("rows.csv")
        train = step("train", PipelineParameter("text", "w1"), inputs=[rows], allow_reuse=True)
        read = step("read", Model("digits"), made)
        train >> read
        register(read.output["made"])
    """,
        options='params={"text": "w1"}',
    )
    first = dags.run()
    assert first.state == "success", first.text
    assert first.read("read", "made") == "w1"
    model = models(dags).latest("digits")
    assert model is not None
    assert (model.tags, model.properties, model.files.size) == ({"accuracy": "0.9"}, {"a": "b"}, 2)
    copied = models(dags).latest("copied")
    assert copied is not None
    assert copied.lineage is not None
    assert copied.lineage.inputs["digits"].version == 1  # the data that the model was made from
    assert dags.run().actions == {"train": "reused", "read": "reused"}
    assert dags.run(text="w22").read("read", "made") == "w22"
    assert models(dags).versions("digits") == [1, 2]
