"""Mapped steps and who reads them: failed indexes, files of a folder, long lists, and nothing at all."""

from __future__ import annotations

import hashlib
import json
import textwrap

import pytest

from tests.airflow.harness import DagFiles, RunOutcome, rewrite

pytestmark = pytest.mark.airflow

# Writes its first argument to the path in its last one, unless that is what fails.
COPY = """
import sys
assert not sys.argv[1].startswith("bad"), "a bad word"
open(sys.argv[-1], "w").write(sys.argv[1])
"""

# Lists the files below its first argument, and what is in them.
GATHER = """
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
found = {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
open(sys.argv[-1], "w").write(json.dumps(found))
"""

# Makes a folder of as many files as its first argument says.
SHARDS = """
import pathlib, sys
count, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
(folder / "more").mkdir(parents=True)
for number in range(count):
    (folder / f"{number:03d}.csv").write_text(f"shard {number}")
(folder / "more" / "extra.csv").write_text("extra")
(folder / "notes.txt").write_text("notes")
"""

MAPPED = """
made = PipelineData("made")
PythonScriptStep.partial(task_id="make", source_directory="src", script_name="copy.py").expand(
    arguments=[[word, made] for word in {words}]
)
step("gather", made.as_input(), PipelineData("all"), {keywords})
"""


def gathered(run: RunOutcome) -> dict[str, str]:
    found: dict[str, str] = json.loads(run.read("gather", "all"))
    return found


def ran(run: RunOutcome) -> set[str]:
    return {key for key, action in run.actions.items() if action == "ran"}


@pytest.fixture
def scripts(dags: DagFiles) -> DagFiles:
    dags.script("copy.py", COPY)
    dags.script("gather.py", GATHER)
    dags.script("shards.py", SHARDS)
    return dags


def test_results_keep_their_index_when_an_instance_fails(scripts: DagFiles) -> None:
    scripts.dag(MAPPED.format(words=["red", "bad", "blue"], keywords="trigger_rule=TriggerRule.ALL_DONE"))
    run = scripts.run()
    assert run.states["gather"] == "success", run.text
    assert gathered(run) == {"0000": "red", "0002": "blue"}
    assert "Results of make are missing for 1 of 3 instances: 1 failed" in run.text


def test_a_gap_at_another_index_is_another_input(scripts: DagFiles) -> None:
    rule = "trigger_rule=TriggerRule.ALL_DONE"
    scripts.dag(MAPPED.format(words=["red", "bad", "blue"], keywords=rule))
    first = scripts.run()
    scripts.dag(MAPPED.format(words=["red", "blue", "bad"], keywords=rule))
    second = scripts.run()
    assert second.actions == {"make[0]": "reused", "make[1]": "reused", "gather": "ran"}
    assert first.decision("gather")["fingerprint"] != second.decision("gather")["fingerprint"]


def test_one_tree_is_made_of_folders_of_files_and_of_what_was_not_written(scripts: DagFiles) -> None:
    scripts.script(
        "make.py",
        """
        import pathlib, sys
        kind, place = sys.argv[1], pathlib.Path(sys.argv[2])
        if kind == "folder":
            (place / "deep").mkdir(parents=True)
            (place / "deep" / "a.csv").write_text("a")
        elif kind == "file":
            place.write_text("b")
    """,
    )
    scripts.dag("""
        made = PipelineData("made")
        PythonScriptStep.partial(task_id="make", source_directory="src", script_name="make.py").expand(
            arguments=[[kind, made] for kind in ("folder", "nothing", "file")]
        )
        step("gather", made.as_input(), PipelineData("all"))
        step("copied", made.as_download(), PipelineData("all"), script="gather.py")
    """)
    run = scripts.run()
    expected = {"0000/deep/a.csv": "a", "0002": "b"}
    assert gathered(run) == expected
    assert json.loads(run.read("copied", "all")) == expected


def test_the_instances_of_a_mapped_group_are_read_as_one_tree_also_when_there_is_one(
    scripts: DagFiles,
) -> None:
    body = """
        made = PipelineData("made")

        @task_group
        def group(word):
            step("make", word, made, script="copy.py")

        group.expand(word={words})
        step("gather", made.as_input(), PipelineData("all"), trigger_rule=TriggerRule.ALL_DONE)
    """
    scripts.dag(body.format(words=["red"]))
    assert gathered(scripts.run()) == {"0000": "red"}
    scripts.dag(body.format(words=["bad", "green"]))
    assert gathered(scripts.run()) == {"0001": "green"}


def test_steps_are_mapped_inside_a_task_group_and_by_dicts(scripts: DagFiles) -> None:
    scripts.script(
        "show.py", "import os, sys; open(sys.argv[2], 'w').write(sys.argv[1] + os.environ['TONE'])"
    )
    scripts.dag("""
        made = PipelineData("made")
        with TaskGroup("inner"):
            PythonScriptStep.partial(
                task_id="show", source_directory="src", script_name="show.py", outputs=[made]
            ).expand_kwargs(
                [
                    {"arguments": [word, made], "environment_variables": {"TONE": word[0]}}
                    for word in ("red", "blue")
                ]
            )
        step("gather", made.as_input(), PipelineData("all"))
    """)
    assert gathered(scripts.run()) == {"0000": "redr", "0001": "blueb"}


def test_two_mapped_keywords_multiply_and_keep_their_order(scripts: DagFiles) -> None:
    scripts.script(
        "show.py", "import os, sys; open(sys.argv[2], 'w').write(sys.argv[1] + os.environ['TONE'])"
    )
    scripts.dag("""
        made = PipelineData("made")
        PythonScriptStep.partial(
            task_id="show", source_directory="src", script_name="show.py", outputs=[made]
        ).expand(
            arguments=[[word, made] for word in ("red", "blue")],
            environment_variables=[{"TONE": tone} for tone in "xyz"],
        )
        step("gather", made.as_input(), PipelineData("all"))
    """)
    run = scripts.run()
    assert list(gathered(run).values()) == ["redx", "redy", "redz", "bluex", "bluey", "bluez"]


FILES = """
from airflow_mlpipe import files_in
shards = PipelineData("shards")
step("shards", {count}, shards, outputs=[shards])
words = files_in(shards, "*.csv", task_id="words")
score = PythonScriptStep.partial(task_id="score", source_directory="src", script_name="score.py").expand(
    arguments=words.map(lambda file: [file, "--"])
)
"""
SCORE = "import sys; assert sys.argv[1].endswith('.csv'); print('scored', open(sys.argv[1]).read())"


@pytest.fixture
def files(scripts: DagFiles) -> DagFiles:
    scripts.script("score.py", SCORE)
    return scripts


def test_a_step_is_mapped_over_the_files_of_a_folder(files: DagFiles) -> None:
    files.dag(FILES.format(count=3))
    run = files.run()
    assert run.state == "success", run.text
    assert [reference.inside for reference in run.returned("words")] == ["000.csv", "001.csv", "002.csv"]
    assert {"scored shard 0", "scored shard 1", "scored shard 2"} <= set(run.log)
    assert "task 'words': 3 files match '*.csv'" in run.text


def test_a_pattern_reaches_below_and_three_hundred_files_are_listed(files: DagFiles) -> None:
    files.dag("""
        from airflow_mlpipe import files_in
        shards = PipelineData("shards")
        step("shards", 300, shards, outputs=[shards])
        files_in(shards, "**/*.csv", task_id="all")
        files_in(shards, "more/*", task_id="below")
        files_in(shards, task_id="top")
    """)
    run = files.run()
    found = {task: [file.inside for file in run.returned(task)] for task in ("all", "below", "top")}
    numbered = [f"{number:03d}.csv" for number in range(300)]
    assert found == {
        "all": [*numbered, "more/extra.csv"],
        "below": ["more/extra.csv"],
        "top": [*numbered, "notes.txt"],
    }
    (last,) = run.returned("below")
    assert last.path().read_text() == "extra"
    assert last.digest == hashlib.sha256(b"extra").hexdigest()


def test_the_files_of_a_folder_that_was_not_sealed_are_listed_as_they_lie_there(files: DagFiles) -> None:
    files.dag(FILES.format(count=2))
    run = files.run(mlpipe={"reuse": "bypass"})
    assert run.state == "success", run.text
    sealed = files.run()
    digests = [[file.digest for file in done.returned("words")] for done in (run, sealed)]
    assert digests[0] == digests[1]


def test_a_pattern_that_nothing_matches_fails_with_what_there_is(files: DagFiles) -> None:
    files.dag(FILES.format(count=1).replace("*.csv", "*.tsv"))
    run = files.run()
    assert run.states["words"] == "failed"
    assert "task 'words': no file of shards of " in run.text
    assert "matches '*.tsv'; it has 000.csv, more/extra.csv, notes.txt; correct the pattern" in run.text


def test_with_allow_empty_what_is_mapped_over_nothing_is_skipped_and_that_is_told(files: DagFiles) -> None:
    files.dag(FILES.format(count=1).replace('"*.csv"', '"*.tsv", allow_empty=True'))
    run = files.run()
    assert (run.state, run.states["score"]) == ("success", "skipped")
    assert "words returned nothing to map over: Airflow skips score" in run.text


def test_more_files_than_airflow_maps_over_are_refused_with_both_numbers(
    files: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "3")
    files.dag(FILES.format(count=4))
    run = files.run()
    assert run.states["words"] == "failed"
    assert "4 files match '*.csv', and Airflow maps over 3 at most" in run.text


def test_a_damaged_file_takes_its_whole_folder_out_of_use(
    files: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "size")  # so that the damage is not found before
    files.script("score.py", "import sys; open(sys.argv[1])")
    files.dag(FILES.format(count=2))
    first = files.run()
    files.script("score.py", SCORE)
    rewrite(first.returned("words")[1].path(), "evil  1")
    second = files.run()
    assert (second.states["score[0]"], second.states["score[1]"]) == ("success", "failed")
    assert files.run().actions["shards"] == "ran"


def test_a_folder_of_a_mapped_step_is_no_one_folder(files: DagFiles) -> None:
    files.dag("""
        from airflow_mlpipe import files_in
        shards = PipelineData("shards")
        PythonScriptStep.partial(task_id="shards", source_directory="src", script_name="shards.py").expand(
            arguments=[[1, shards], [2, shards]]
        )
        files_in(shards, task_id="words")
    """)
    run = files.run()
    assert run.states["words"] == "failed"
    assert "task 'words': its folder resolved to MaterialReferences" in run.text


def test_what_reads_the_results_of_nothing_is_skipped_or_told_so(scripts: DagFiles) -> None:
    scripts.dag("""
        @task
        def nothing():
            return []

        made = PipelineData("made")
        PythonScriptStep.partial(task_id="make", source_directory="src", script_name="copy.py",
                                 arguments=["x", made]).expand(environment_variables=nothing())
        step("gather", made.as_input(), PipelineData("all"))
        step("eager", made.as_input(), script="gather.py", trigger_rule=TriggerRule.ALL_DONE)
    """)
    run = scripts.run()
    assert (run.states["gather"], run.states["eager"]) == ("skipped", "failed")
    assert "There are no results of make: it is skipped, not expanded" in run.text


TASKFLOW = """
from __future__ import annotations
from pathlib import Path
from typing import Any
from airflow.sdk import DAG, TaskGroup, TriggerRule, task
from airflow_mlpipe import OUTPUT, Input, Output, PipelineData, expand_in_chunks, files_in, step

@step
def prepare(count: int, shards: Output[Path] = OUTPUT) -> None:
    shards.mkdir()
    for number in range(count):
        (shards / f"{number:03d}.csv").write_text(f"shard {number}")

@step
def score(shard: Input[Path]) -> str:
    text = shard.read_text()
    assert "bad" not in text, "a bad shard"
    return text.upper()

@step
def square(x: int, scale: int = 1) -> int:
    assert x >= 0, "a negative number"
    return x * x * scale

@step
def total(parts: list[Any]) -> list[Any]:
    return parts

@step
def tag(word: str, tagged: Output[Path] = OUTPUT) -> None:
    tagged.mkdir()
    (tagged / "word.txt").write_text(word)

@step
def collect(tree: Input[Path]) -> dict[str, str]:
    return {str(path.relative_to(tree)): path.read_text() for path in sorted(tree.rglob("*.txt"))}

with DAG("{dag_id}", schedule=None):
"""


def write(dags: DagFiles, body: str) -> None:
    """Write a DAG file in which *body* uses the functions above."""
    text = TASKFLOW.replace("{dag_id}", dags.dag_id()) + textwrap.indent(textwrap.dedent(body), "    ")
    dags.file("pipeline.py", text)


def test_a_function_is_mapped_over_the_files_of_a_folder_and_a_changed_file_runs_one(dags: DagFiles) -> None:
    write(dags, 'total(parts=score.expand(shard=files_in(prepare(3)["shards"], "*.csv")))')
    first = dags.run()
    assert first.state == "success", first.text
    assert first.returned("total") == ["SHARD 0", "SHARD 1", "SHARD 2"]
    write(dags, 'total(parts=score.expand(shard=files_in(prepare(4)["shards"], "*.csv")))')
    second = dags.run()
    assert ran(second) == {"prepare", "score[3]", "total"}


def test_a_function_that_returns_nothing_to_map_over_says_what_is_skipped(dags: DagFiles) -> None:
    write(dags, "total(parts=square.expand(x=total.override(task_id='numbers')(parts=[])))")
    run = dags.run()
    assert run.states == {"numbers": "success", "square": "skipped", "total": "skipped"}
    assert "numbers returned nothing to map over: Airflow skips square, and what needs their" in run.text


def test_a_function_gets_none_at_the_index_of_a_failed_instance(dags: DagFiles) -> None:
    write(dags, "total.override(trigger_rule=TriggerRule.ALL_DONE)(parts=square.expand(x=[1, -2, 3]))")
    run = dags.run()
    assert run.returned("total") == [1, None, 9]
    assert "Results of square are missing for 1 of 3 instances: 1 failed" in run.text


@pytest.mark.parametrize(
    ("items", "results"),
    [
        pytest.param([3], [9], marks=pytest.mark.slow),
        ([3, -1, 4], [9, None, 16]),
    ],  # a gap among several has both
)
def test_a_mapped_group_hands_on_a_list_with_an_entry_for_each_instance(
    dags: DagFiles, items: list[int], results: list[int | None]
) -> None:
    write(
        dags,
        f"""
        from airflow.sdk import task_group

        @task_group
        def group(x):
            return square(x=x)

        total.override(trigger_rule=TriggerRule.ALL_DONE)(parts=group.expand(x={items}))
    """,
    )
    assert dags.run().returned("total") == results


def test_folder_outputs_of_a_mapped_function_are_collected_into_one_tree(dags: DagFiles) -> None:
    write(dags, 'collect(tree=tag.expand(word=["red", "green"]))')
    run = dags.run()
    assert run.returned("collect") == {"0000/word.txt": "red", "0001/word.txt": "green"}


def test_a_long_list_is_mapped_in_chunks_one_after_the_other(dags: DagFiles) -> None:
    write(dags, "total(parts=expand_in_chunks(square.partial(scale=10), 2, x=[1, 2, 3, 4, 5]))")
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("total") == [10, 40, 90, 160, 250]
    chunks = {key.partition("[")[0] for key in run.actions} - {"total"}
    assert chunks == {"square.chunk_1", "square.chunk_2", "square.chunk_3"}
    ended = [line[:20] for line in run.log if "ran for" in line and "square" in line]
    assert ended == sorted(ended)


def test_values_that_move_to_another_chunk_are_reused(dags: DagFiles) -> None:
    write(dags, "expand_in_chunks(square, 2, x=[1, 2, 3])")
    dags.run()
    write(dags, "expand_in_chunks(square, 2, x=[0, 1, 2, 3])")
    assert ran(dags.run()) == {"square.chunk_1[0]"}


def test_a_failed_instance_does_not_stop_later_chunks_and_fails_the_run(dags: DagFiles) -> None:
    write(dags, "expand_in_chunks(square, 1, x=[-1, 2, 3])")
    run = dags.run()
    assert run.states["square.chunk_1[0]"] == "failed"
    assert (run.states["square.chunk_2[0]"], run.states["square.chunk_3[0]"]) == ("success", "success")
    assert run.state == "failed"


def test_a_reader_that_takes_what_is_there_decides_that_a_failed_chunk_is_fine(dags: DagFiles) -> None:
    write(
        dags,
        """
        reader = total.override(trigger_rule=TriggerRule.ALL_DONE)
        reader(parts=expand_in_chunks(square, 2, x=[-1, 2, 3]))
    """,
    )
    run = dags.run()
    assert (run.state, run.returned("total")) == ("success", [None, 4, 9])


def test_results_after_a_chunk_that_was_never_expanded_are_not_moved_to_other_indexes(dags: DagFiles) -> None:
    write(
        dags,
        """
        results = expand_in_chunks(square.partial(scale=square(-1)), 1, [{'x': 1}, {'x': 2}])
        total.override(trigger_rule=TriggerRule.ALL_DONE)(parts=results)
    """,
    )
    run = dags.run()
    assert run.states["total"] == "failed"
    assert (
        "the results of square__1.chunk_1 cannot be put in a row with others: it is upstream_failed"
        in run.text
    )


def test_no_chunk_runs_when_what_all_of_them_need_has_failed(dags: DagFiles) -> None:
    write(dags, "expand_in_chunks(square.partial(scale=square(-1)), 1, [{'x': 1}, {'x': 2}])")
    run = dags.run()
    assert run.states["square__1.chunk_1"] == run.states["square__1.chunk_2"] == "upstream_failed"
