"""When a step is reused, when it runs again, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles, rewrite

pytestmark = pytest.mark.airflow

PIPELINE = """
raw = Dataset.File.from_files("data/raw.txt")
prepared, model, report = OutputFileDatasetConfig("prepared"), PipelineData("model"), PipelineData("report")
step("prepare", raw.as_named_input("raw").as_mount(), prepared)
step("train", prepared.as_input(), "--lr", PipelineParameter("lr"), "--depth", 3, model)
step("evaluate", model.as_input(), report)
"""
STEPS = ("prepare", "train", "evaluate")


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    """Three steps in a row: words in lower case, the longest of them, a report on it."""
    dags.file("data/raw.txt", "One two Three")
    dags.script(
        "prepare.py",
        """
        import sys
        from words import clean
        text = clean(open(sys.argv[1]).read())
        open(sys.argv[2] + "/words.txt", "w").write(text)
    """,
    )
    dags.script(
        "words.py",
        '''
        def clean(text):
            """Lower case."""
            return text.lower()
    ''',
    )
    dags.script(
        "train.py",
        """
        import sys
        words = open(sys.argv[1] + "/words.txt").read().split()
        open(sys.argv[6], "w").write(max(words, key=len) + " at " + sys.argv[3])
    """,
    )
    dags.script(
        "evaluate.py", "import sys; open(sys.argv[2], 'w').write('found ' + open(sys.argv[1]).read())"
    )
    dags.dag(PIPELINE, options='params={"lr": 0.1}')
    return dags


def ran(actions: dict[str, str]) -> list[str]:
    assert set(actions) == set(STEPS)
    return [name for name in STEPS if actions[name] == "ran"]


def test_a_second_run_reuses_every_step_and_hands_on_the_same_references(pipeline: DagFiles) -> None:
    first, second = pipeline.run(), pipeline.run()
    assert ran(first.actions) == list(STEPS)
    assert ran(second.actions) == []
    for name in STEPS:
        assert second.states[name] == "success"
        assert second.returned(name) == first.returned(name)
    made_by = f"{pipeline.dag_id()}/{first.run_id}/train"
    assert second.decision("train")["reason"].startswith(f"outputs of {made_by}, made ")
    assert f"reused outputs of {made_by}, made " in second.text


def test_a_first_run_says_that_nothing_is_known(pipeline: DagFiles) -> None:
    run = pipeline.run()
    assert run.decision("prepare")["kinds"] == ["first"]
    assert "running: no earlier outputs of this step are in the datastore" in run.text


def test_a_changed_script_reruns_its_step_and_what_reads_its_new_output(pipeline: DagFiles) -> None:
    pipeline.run()
    script = pipeline.folder / "src/train.py"
    script.write_text(script.read_text().replace(" at ", " with lr "))
    run = pipeline.run()
    assert ran(run.actions) == ["train", "evaluate"]
    assert run.decision("train")["reason"].startswith("train.py changed (")
    assert " -> " in run.decision("train")["reason"]
    assert run.decision("evaluate")["reason"].startswith("input model changed (")
    assert run.read("evaluate", "report") == "found three with lr 0.1"


def test_early_cutoff_a_rerun_that_makes_the_same_bytes_leaves_its_descendants_alone(
    pipeline: DagFiles,
) -> None:
    pipeline.run()
    script = pipeline.folder / "src/words.py"
    script.write_text(script.read_text().replace("text.lower()", "text.casefold()"))
    run = pipeline.run()
    assert ran(run.actions) == ["prepare"]
    assert run.decision("prepare")["reason"].startswith("words.py changed (")


def test_a_changed_parameter_is_told_with_its_old_and_new_value(pipeline: DagFiles) -> None:
    pipeline.run()
    run = pipeline.run(lr=0.2)
    assert ran(run.actions) == ["train", "evaluate"]
    assert run.decision("train")["reason"] == "argument --lr 0.1 -> 0.2"
    assert "running: argument --lr 0.1 -> 0.2" in run.text


def test_going_back_to_an_earlier_value_reuses_what_was_made_with_it(pipeline: DagFiles) -> None:
    first = pipeline.run()
    pipeline.run(lr=0.2)
    back = pipeline.run(lr=0.1)
    assert ran(back.actions) == []
    assert back.returned("evaluate") == first.returned("evaluate")


def test_a_changed_argument_reruns_its_step(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.dag(PIPELINE.replace('"--depth", 3', '"--depth", 4'), options='params={"lr": 0.1}')
    run = pipeline.run()
    assert ran(run.actions) == ["train"]
    assert run.decision("train")["reason"] == "argument --depth 3 -> 4"


def test_changed_bytes_are_seen_though_size_and_time_are_as_before(pipeline: DagFiles) -> None:
    pipeline.run()
    rewrite(pipeline.folder / "data/raw.txt", "One two Seven")
    run = pipeline.run()
    assert ran(run.actions) == list(STEPS)
    assert run.decision("prepare")["reason"].startswith("input raw changed (")
    assert run.read("evaluate", "report") == "found seven at 0.1"


def test_what_cannot_change_the_result_changes_nothing(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.script(
        "words.py",
        '''
        # What follows is about words.
        def clean(text):
            """To lower case, whatever the language."""


            return text.lower()  # not upper
    ''',
    )
    pipeline.script("unrelated.py", "x = 1")
    os.utime(pipeline.folder / "src/train.py", (1, 1))
    os.utime(pipeline.folder / "data/raw.txt", (1, 1))
    assert ran(pipeline.run().actions) == []


def test_a_file_that_is_not_python_counts(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.script("settings.json", "{}")
    run = pipeline.run()
    assert ran(run.actions) == list(STEPS)
    assert run.decision("train")["reason"] == "settings.json added"


def test_what_an_ignore_file_names_does_not_count(pipeline: DagFiles) -> None:
    pipeline.script(".amlignore", "*.json\n")
    pipeline.run()
    pipeline.script("settings.json", "{}")
    assert ran(pipeline.run().actions) == []


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            'environment_variables={"A": "1"}',
            'environment_variables={"A": "2"}',
            "environment variable A 1 -> 2",
        ),
        ("", 'environment_variables={"A": "1"}', "environment variable A added"),
        ('reuse_version="1"', 'reuse_version="2"', "reuse_version 1 -> 2"),
        ("", 'outputs=[PipelineData("more")]', "output more.kind added"),
    ],
)
def test_a_changed_keyword_that_counts_reruns_the_step_and_is_named(
    dags: DagFiles, before: str, after: str, reason: str
) -> None:
    dags.script(
        "make.py",
        """
        import sys
        from airflow_mlpipe import Run
        for path in Run.get_context().output_datasets.values():
            open(path, "w").write("made")
    """,
    )
    dags.dag(f'step("make", PipelineData("made"), {before})')
    dags.run()
    dags.dag(f'step("make", PipelineData("made"), {after})')
    run = dags.run()
    assert run.actions == {"make": "ran"}
    assert run.decision("make")["reason"] == reason


@pytest.mark.parametrize(
    "keyword", ["priority_weight=5", "retries=3", "max_active_tis_per_dag=1", 'experiment="x"']
)
def test_how_a_task_is_scheduled_does_not_count(dags: DagFiles, keyword: str) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag('step("make", PipelineData("made"))')
    dags.run()
    dags.dag(f'step("make", PipelineData("made"), {keyword})')
    assert dags.run().actions == {"make": "reused"}


def test_an_equal_step_of_another_dag_is_reused_and_the_link_leads_to_that_dag(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag('step("make", PipelineData("made"))', name="one")
    dags.dag('step("again", PipelineData("made"), script="make.py")', name="two")
    first, second = dags.run("one"), dags.run("two")
    assert second.actions == {"again": "reused"}
    assert second.returned("again") == first.returned("make")
    link = second.xcoms["again"]["_link_ProducerLink"]
    assert link.startswith(f"/dags/{dags.dag_id('one')}/runs/")
    assert link.endswith("/tasks/make")


def test_reuse_within_one_dag_ignores_what_another_has_made(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    for name in ("one", "two"):
        dags.dag('step("make", PipelineData("made"), reuse_scope="dag")', name=name)
    assert [dags.run(name).actions["make"] for name in ("one", "two", "one", "two")] == [
        "ran",
        "ran",
        "reused",
        "reused",
    ]


def test_equal_steps_of_one_run_are_made_once(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag("""
        step("one", PipelineData("made"), script="make.py")
        step("two", PipelineData("made"), script="make.py")
    """)
    run = dags.run()
    assert sorted(run.actions.values()) == ["ran", "reused"]
    assert run.returned("one") == run.returned("two")


def test_the_bundle_may_move(dags: DagFiles, tmp_path: Path) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.file("data/raw.txt", "raw")
    dags.dag('step("make", Dataset.File.from_files("data/raw.txt"), PipelineData("made"))')
    dags.run()
    moved = tmp_path / "elsewhere"
    dags.folder.rename(moved)
    run = dags.run_file(moved / "pipeline.py", dags.dag_id())
    assert run.actions == {"make": "reused"}
