"""What a script finds at the places it writes to, and what becomes of what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow


def test_the_leaf_of_a_pipeline_data_is_not_there_but_its_parent_is(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import os, sys
        assert not os.path.exists(sys.argv[1])
        assert os.path.isdir(os.path.dirname(sys.argv[1]))
        open(sys.argv[1], "w").write("a file")
    """,
    )
    dags.dag('step("make", PipelineData("made"))')
    assert dags.run().read("make", "made") == "a file"


def test_a_script_may_make_a_folder_of_a_pipeline_data(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import os, sys
        os.makedirs(sys.argv[1] + "/deep")
        open(sys.argv[1] + "/deep/a.txt", "w").write("deep")
    """,
    )
    dags.script(
        "read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1] + '/deep/a.txt').read())"
    )
    dags.dag("""
        made = PipelineData("made")
        step("make", made)
        step("read", made, PipelineData("said"))
    """)
    run = dags.run()
    assert run.reference("make", "made").kind == "directory"
    assert run.read("read", "said") == "deep"


def test_the_folder_of_an_output_file_dataset_config_is_there_and_may_stay_empty(dags: DagFiles) -> None:
    dags.script("make.py", "import os, sys; assert os.listdir(sys.argv[1]) == []")
    dags.dag('step("make", OutputFileDatasetConfig("made"))')
    run = dags.run()
    assert run.state == "success"
    assert list(run.path("make", "made").iterdir()) == []
    assert dags.run().actions == {"make": "reused"}


def test_a_pipeline_data_that_was_never_written_is_tolerated_and_nothing_is_sealed(dags: DagFiles) -> None:
    dags.script("make.py", "pass")
    dags.script("read.py", "import os, sys; open(sys.argv[2], 'w').write(str(os.path.exists(sys.argv[1])))")
    dags.dag("""
        made = PipelineData("made")
        step("make", made)
        step("read", made, PipelineData("said"))
    """)
    first = dags.run()
    assert first.state == "success"
    assert first.reference("make", "made").kind == "missing"
    assert first.decision("make")["sealed"] is False
    assert "output 'made' was declared but not written" in first.text
    assert first.read("read", "said") == "False"
    assert dags.run().actions == {"make": "ran", "read": "reused"}


def test_an_output_folder_that_the_script_removes_fails_the_step(dags: DagFiles) -> None:
    dags.script("make.py", "import os, sys; os.rmdir(sys.argv[1])")
    dags.dag('step("make", OutputFileDatasetConfig("made"))')
    run = dags.run()
    assert run.state == "failed"
    assert "step 'make': the folder of output 'made' was removed" in run.text
    assert dags.sealed() == []


def test_a_destination_gets_a_copy_under_the_run_and_the_name_again_when_the_step_is_reused(
    dags: DagFiles, tmp_path: Path
) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1] + '/a.txt', 'w').write('made')")
    dags.dag(f"""
        step("make", OutputFileDatasetConfig("made", destination="{tmp_path}/out/{{run-id}}/{{output-name}}"))
    """)
    first, second = dags.run(), dags.run()
    assert second.actions == {"make": "reused"}
    for run in (first, second):
        assert (tmp_path / "out" / run.run_id / "made" / "a.txt").read_text() == "made"


def test_a_relative_destination_lies_in_the_datastore(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1] + '/a.txt', 'w').write('made')")
    dags.dag('step("make", OutputFileDatasetConfig("made", destination="exports/{output-name}"))')
    assert dags.run().state == "success"
    assert (dags.store / "exports/made/a.txt").read_text() == "made"


def test_an_empty_output_has_nothing_to_copy(dags: DagFiles) -> None:
    dags.script("make.py", "pass")
    dags.dag('step("make", OutputFileDatasetConfig("made", destination="exports/made"))')
    run = dags.run()
    assert run.state == "success"
    assert "Output made has no files to copy to exports/made" in run.text


def test_a_destination_may_be_a_place_in_another_datastore_and_what_is_there_is_not_sent_again(
    dags: DagFiles, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3.options["client_kwargs"]
    place = {"url": s3.url, "endpoint": client["endpoint_url"], "region": client["region_name"]}
    login = {"login": s3.options["key"], "password": s3.options["secret"]}
    connection = json.dumps({"conn_type": "mlpipe_datastore", **login, "extra": place})
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection)
    dags.script("make.py", "import sys; open(sys.argv[1] + '/a.txt', 'w').write('made')")
    dags.dag("""
        from airflow_mlpipe import Datastore
        place = (Datastore("lake"), "out/{output-name}")
        step("make", OutputFileDatasetConfig("made", destination=place).as_upload())
    """)
    first, second = dags.run(), dags.run()
    assert first.state == second.state == "success", first.text + second.text
    assert s3.filesystem().cat_file(f"{s3.bucket}/out/made/a.txt") == b"made"
    copied = "Copied output made to datastore://lake/out/made: "
    assert f"{copied}1 files (4 B); 0 were there already" in first.text
    assert f"{copied}0 files (0 B); 1 were there already" in second.text


def test_a_plain_task_opens_a_reference(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag("""
        made = step("make", PipelineData("made"))

        @task
        def read(reference):
            with reference.open() as file:
                return [file.read().decode(), reference.path().read_text(), str(reference)]

        read(made.output["made"])
    """)
    run = dags.run()
    assert run.returned("read") == ["made", "made", run.reference("make", "made").uri]


def test_a_reference_says_who_made_the_data_and_what_it_holds(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag('step("make", PipelineData("made"))')
    run = dags.run()
    reference = run.reference("make", "made")
    assert str(reference.producer) == f"{dags.dag_id()}/{run.run_id}/make"
    assert (reference.name, reference.kind, reference.size, reference.sealed) == ("made", "file", 4, True)
    assert len(json.dumps(reference.model_dump(mode="json"))) < 900


def test_a_sealed_output_cannot_be_written_by_accident(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag('step("make", PipelineData("made"))')
    assert dags.run().path("make", "made").stat().st_mode & 0o222 == 0
