"""Why real runs ran, told from what they left in the datastore."""

from __future__ import annotations

import json
import shutil
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.cli.cli_parser import get_parser
from fastapi.testclient import TestClient

from airflow_mlpipe import explain
from airflow_mlpipe.cli.explain import text_of
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.explaining.explanation import Explanation
from airflow_mlpipe.pipeline.explaining.instances import instances_of
from airflow_mlpipe.store.layout import recipe_key
from airflow_mlpipe.store.run_record import RunRecords
from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

STEP = """
raw = Dataset.File.from_files("data/raw.txt")
step("train", raw.as_named_input("raw").as_mount(), "--lr", PipelineParameter("lr"), PipelineData("model"))
"""
PIPELINE = """
raw = Dataset.File.from_files(["data/raw.txt", "data/more.txt"])
prepared, model, report = PipelineData("prepared"), PipelineData("model"), PipelineData("report")
step("prepare", raw.as_named_input("raw").as_mount(), prepared)
step("train", prepared.as_input(), "--lr", PipelineParameter("lr"), model)
step("evaluate", model.as_input(), report)
"""


@pytest.fixture
def single(dags: DagFiles) -> DagFiles:
    """One step, with a helper."""
    dags.file("data/raw.txt", "One two Three")
    dags.script(
        "train.py",
        """
        import sys
        from words import clean
        open(sys.argv[4], "w").write(clean(open(sys.argv[1]).read()) + " at " + sys.argv[3])
    """,
    )
    dags.script(
        "words.py",
        """
        # Words.
        def clean(text):
            return text.lower()
    """,
    )
    dags.dag(STEP, options='params={"lr": 0.1}')
    return dags


@pytest.fixture
def pipeline(single: DagFiles) -> DagFiles:
    """Three steps in a row."""
    single.file("data/more.txt", "Four")
    single.script(
        "prepare.py",
        """
        import pathlib, sys
        from words import clean
        texts = [path.read_text() for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]
        open(sys.argv[2], "w").write(clean(" ".join(texts)))
    """,
    )
    single.script(
        "train.py",
        """
        import sys
        open(sys.argv[4], "w").write(open(sys.argv[1]).read() + " at " + sys.argv[3])
    """,
    )
    single.script("evaluate.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    single.dag(PIPELINE, options='params={"lr": 0.1}')
    return single


def edit(dags: DagFiles, script: str, old: str, new: str) -> None:
    path = dags.folder / "src" / script
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def why(dags: DagFiles, run: RunOutcome, task_id: str, **options: Any) -> Explanation:
    return explain(dags.dag_id(), run.run_id, task_id, **options)


def install(site: Path, version: str) -> None:
    """Put the distribution wordlib into *site* as an installer would."""
    (site / "wordlib.py").write_text(f"version = {version!r}\n")
    folder = site / f"wordlib-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wordlib\nVersion: {version}\n")
    (folder / "RECORD").write_text("wordlib.py,,\n")


def changed(explanation: Explanation) -> list[str]:
    return [change.difference.sentence() for change in explanation.changes]


def test_a_first_run_has_nothing_to_be_compared_with(single: DagFiles) -> None:
    found = why(single, single.run(), "train")
    assert found.baseline is None
    assert text_of(found).splitlines() == [
        f"{found.record.step} ran: no earlier outputs of this step are in the datastore",
        "",
        "There is no earlier run to compare it with.",
    ]


def test_a_changed_argument_is_told_with_old_and_new_value_and_what_stayed(single: DagFiles) -> None:
    first = single.run()
    found = why(single, single.run(lr=0.2), "train")
    assert changed(found) == ["argument --lr 0.1 -> 0.2"]
    assert found.baseline is not None
    assert (found.baseline.choice, found.baseline.instance) == (
        "nearest",
        found.record.instance.model_copy(update={"run_id": first.run_id}),
    )
    assert "arguments" not in found.equal_parts
    assert {"code", "inputs", "environment"} <= set(found.equal_parts)
    assert text_of(found).splitlines()[:5] == [
        f"{found.record.step} ran: argument --lr 0.1 -> 0.2",
        "",
        f"Compared with {single.dag_id()}/{first.run_id}/train, the earlier run that differs least.",
        "",
        "argument --lr 0.1 -> 0.2",
    ]


def test_of_a_changed_helper_the_lines_are_shown_that_changed(single: DagFiles) -> None:
    single.run()
    edit(single, "words.py", "text.lower()", "text.upper()")
    edit(single, "train.py", "import sys", "import sys  # for arguments")
    found = why(single, single.run(), "train")
    (change,) = found.changes
    assert change.difference.subject == "words.py"
    assert change.code is not None
    assert change.code.note is None
    assert "-    return text.lower()\n+    return text.upper()\n" in change.code.diff
    assert "  +    return text.upper()" in text_of(found).splitlines()


def test_a_changed_input_leads_two_steps_up_to_what_began_it(pipeline: DagFiles) -> None:
    first = pipeline.run()
    edit(pipeline, "words.py", "text.lower()", "text.lower() + ' eleven'")
    second = pipeline.run()
    found = why(pipeline, second, "evaluate")
    (model,) = found.changes
    (train,) = model.causes
    (prepared,) = train.changes
    (prepare,) = prepared.causes
    assert str(train.made_by) == f"{pipeline.dag_id()}/{second.run_id}/train"
    assert str(train.before) == f"{pipeline.dag_id()}/{first.run_id}/train"
    assert [change.difference.subject for change in prepare.changes] == ["words.py"]
    assert prepare.changes[0].code is not None
    assert "+    return text.lower() + ' eleven'" in prepare.changes[0].code.diff
    (root,) = found.roots
    assert root.startswith(f"{pipeline.dag_id()}/{second.run_id}/prepare: words.py changed (")
    assert f"It began with:\n  {root}" in text_of(found)


def test_a_changed_dataset_ends_the_search_with_its_paths(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.file("data/raw.txt", "One two Eleven")
    found = why(pipeline, pipeline.run(), "train")
    (prepared,) = found.changes
    (raw,) = prepared.causes[0].changes
    assert raw.difference.subject == "raw"
    assert raw.dataset == ("data/raw.txt",)
    assert raw.causes == ()


def test_an_upgraded_package_is_told_with_both_versions(dags: DagFiles, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (site,) = tmp_path.glob("venv/lib/*/site-packages")
    python = tmp_path / "venv/bin/python"
    dags.script("make.py", "import sys, wordlib; open(sys.argv[1], 'w').write('made')")
    dags.dag(f'step("make", PipelineData("made"), compute_target=LocalTarget("t", python="{python}"))')
    install(site, "1.0")
    dags.run()
    shutil.rmtree(site / "wordlib-1.0.dist-info")
    install(site, "1.1")
    found = why(dags, dags.run(), "make")
    assert changed(found) == ["package wordlib 1.0 -> 1.1"]
    assert found.as_document()["changes"][0]["subject"] == "package wordlib"


def test_a_reuse_says_whose_outputs_and_that_nothing_differs(single: DagFiles) -> None:
    first, second = single.run(), single.run()
    found = why(single, second, "train")
    made_by = f"{single.dag_id()}/{first.run_id}/train"
    assert found.changes == ()
    assert len(found.equal_parts) == 9
    text = text_of(found)
    assert text.startswith(f"{found.record.step} reused outputs of {made_by}, made ")
    assert f"Compared with {made_by}, which made the outputs." in text
    assert "Nothing differs: step, code, arguments, " in text
    assert found.as_document()["producer"]["run_id"] == first.run_id


def test_a_reuse_can_be_held_against_a_run_with_another_recipe(single: DagFiles) -> None:
    single.run()
    other, back = single.run(lr=0.2), single.run(lr=0.1)
    assert changed(why(single, back, "train", against=other.run_id)) == ["argument --lr 0.2 -> 0.1"]


def test_a_run_that_failed_is_explained_with_its_code(single: DagFiles) -> None:
    single.run()
    edit(single, "train.py", "import sys", "import sys; sys.exit(3)")
    failed = single.run()
    assert failed.states["train"] == "failed"
    found = why(single, failed, "train")
    assert found.verdict.startswith(f"{found.record.step} ran and failed: train.py changed (")
    assert found.changes[0].code is not None
    assert "+import sys; sys.exit(3)" in found.changes[0].code.diff
    edit(single, "train.py", "import sys; sys.exit(3)", "import sys; x = 1")
    mended = why(single, single.run(), "train", against=failed.run_id)
    assert mended.changes[0].code is not None
    assert "-import sys; sys.exit(3)\n+import sys; x = 1" in mended.changes[0].code.diff


def test_a_refresh_that_made_other_bytes_is_the_cause_of_what_follows(dags: DagFiles) -> None:
    dags.script("make.py", "import sys, time; open(sys.argv[1], 'w').write(str(time.time_ns()))")
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    body = """
        made = PipelineData("made")
        step("make", made{})
        step("read", made.as_input(), PipelineData("copy"))
    """
    dags.dag(body.format(""))
    dags.run()
    dags.dag(body.format(", regenerate_outputs=True"))
    second = dags.run()
    (change,) = why(dags, second, "read").changes
    (cause,) = change.causes
    assert cause.note == (
        "the same recipe did not make the same bytes again; "
        f"{dags.dag_id()}/{second.run_id}/make ran: regenerate_outputs asks for a refresh"
    )


def test_each_instance_of_a_mapped_step_has_its_own_explanation(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    body = """
        out = PipelineData("out")
        PythonScriptStep.partial(task_id="make", source_directory="src", script_name="make.py", outputs=[out]
        ).expand(arguments=[["a", out], ["{}", out]])
    """
    dags.dag(body.format("b"))
    dags.run()
    dags.dag(body.format("c"))
    run = dags.run()
    assert changed(why(dags, run, "make", map_index=1)) == ["argument 1 b -> c"]
    assert why(dags, run, "make", map_index=0).record.action == "reused"
    with pytest.raises(NotFoundError, match=r"the task has the map indexes 0, 1 in that run"):
        why(dags, run, "make")


def test_the_error_for_an_unknown_run_names_those_that_are_known(single: DagFiles) -> None:
    run = single.run()
    with pytest.raises(NotFoundError) as error:
        why(single, run, "train", against="no-such-run")
    assert str(error.value).endswith(
        f"/no-such-run/train has no record; runs of the task that have one: {run.run_id}"
    )
    with pytest.raises(NotFoundError, match="no other run of the task has one"):
        explain(single.dag_id(), run.run_id, "no_such_task")


def test_what_was_deleted_is_said_to_be_gone_and_not_guessed(single: DagFiles) -> None:
    first = single.run()
    edit(single, "words.py", "text.lower()", "text.upper()")
    second = single.run()
    shutil.rmtree(single.store / "mlpipe/v1/snapshots")
    (change,) = why(single, second, "train").changes
    assert change.code is not None
    assert change.code.diff == ""
    assert change.code.note == (
        f"the code of {single.dag_id()}/{first.run_id}/train is not in the datastore any more"
    )
    record = RunRecords(single.datastore).read(single.dag_id(), first.run_id, "train")
    assert record is not None
    single.manifest_path(first, "train").unlink()
    (single.store / recipe_key(record.fingerprint)).unlink()
    found = why(single, second, "train")
    assert found.equal_parts == ()
    assert "They cannot be compared: what " in text_of(found)


def test_the_command_prints_text_for_people_and_json_for_programs(
    single: DagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    single.run()
    run = single.run(lr=0.2)
    command = ["mlpipe", "explain", single.dag_id(), run.run_id, "train"]
    found = why(single, run, "train")
    assert printed(command, capsys) == text_of(found) + "\n"
    assert json.loads(printed([*command, "-o", "json"], capsys)) == found.as_document()
    with pytest.raises(SystemExit) as ended:
        printed([*command, "--against", "no-such-run"], capsys)
    assert ended.value.code == 1
    assert "no-such-run/train has no record" in capsys.readouterr().err


def printed(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    args = get_parser().parse_args(command)
    args.func(args)
    return capsys.readouterr().out


@pytest.fixture
def web() -> Iterator[TestClient]:
    """The web app, as a user sees it who may look at everything."""
    from airflow_mlpipe.plugins.web import app

    create_auth_manager().init()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ann", role="viewer")
    yield TestClient(app)
    app.dependency_overrides.clear()


def route(dags: DagFiles, run: RunOutcome, task_id: str, name: str = "pipeline") -> str:
    return f"/dags/{dags.dag_id(name)}/runs/{run.run_id}/tasks/{task_id}/explanation"


def test_the_web_app_serves_the_same_document(single: DagFiles, web: TestClient) -> None:
    first, second = single.run(), single.run(lr=0.2)
    answer = web.get(route(single, second, "train"), params={"against": first.run_id})
    assert answer.status_code == 200
    assert answer.json() == why(single, second, "train", against=first.run_id).as_document()


def test_the_web_app_sums_up_the_instances_of_a_mapped_step(dags: DagFiles, web: TestClient) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag("""
        out = PipelineData("out")
        PythonScriptStep.partial(task_id="make", source_directory="src", script_name="make.py", outputs=[out]
        ).expand(arguments=[["a", out], ["b", out]])
    """)
    run = dags.run()
    of_instances = route(dags, run, "make").replace("explanation", "instances")
    assert web.get(of_instances).json() == instances_of(dags.dag_id(), run.run_id, "make").as_document()
    assert web.get(of_instances).json()["counts"] == {"ran": 2}
    assert web.get(of_instances.replace("make", "nothing")).status_code == 404


def test_the_web_app_tells_what_is_missing_from_what_is_broken(
    single: DagFiles, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = single.run()
    assert web.get(route(single, run, "no_such_task")).status_code == 404
    (record,) = single.store.glob("mlpipe/v1/runs/*/*/train/-1.json")
    record.write_text("{}")
    assert web.get(route(single, run, "train")).status_code == 409
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "no/absolute/path")
    assert web.get(route(single, run, "train")).status_code == 503


def test_the_web_app_refuses_who_may_not_see_the_dag(single: DagFiles, web: TestClient) -> None:
    from airflow_mlpipe.plugins.web import app

    run = single.run()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="bob", role=None)
    assert web.get(route(single, run, "train")).status_code == 403


def test_of_another_dag_the_web_app_tells_ids_and_no_more(dags: DagFiles, web: TestClient) -> None:
    dags.script("copy.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")

    def run(word: str) -> tuple[RunOutcome, RunOutcome]:
        dags.dag(f'step("make", "{word}", PipelineData("made"), script="copy.py")', name="maker")
        dags.dag(
            f"""
            made = PipelineData("made")
            OutputReuseSensor(task_id="wait", entry=Script(script_name="copy.py"), source_directory="src",
                              arguments=["{word}", made], poke_interval=1)
            step("read", made.as_input(), PipelineData("copy"))
            """,
            name="reader",
        )
        return dags.run("maker"), dags.run("reader")

    run("crimson")
    maker, reader = run("turquoise")
    (cause,) = explain(dags.dag_id("reader"), reader.run_id, "read").changes[0].causes
    assert [change.difference.sentence() for change in cause.changes] == ["argument 1 crimson -> turquoise"]
    answer = web.get(route(dags, reader, "read", "reader"))
    (shown,) = answer.json()["changes"][0]["causes"]
    assert shown["made_by"] == {
        "dag_id": dags.dag_id("maker"),
        "run_id": maker.run_id,
        "task_id": "make",
        "map_index": -1,
    }
    assert shown["note"] == "another DAG made it, whose explanation says why"
    assert "crimson" not in answer.text
