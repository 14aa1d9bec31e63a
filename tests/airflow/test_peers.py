"""What other tools of the field get wrong, on one pipeline of three steps; see
docs/explanation/compared-with-other-tools.md for what they did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles, RunOutcome, rewrite
from tests.mutations.layouts import distribution

pytestmark = pytest.mark.airflow

STEPS = ["prepare", "train", "evaluate"]
PIPELINE = """
raw = Dataset.File.from_files("data/raw.txt")
prepared, model, report = OutputFileDatasetConfig("prepared"), PipelineData("model"), PipelineData("report")
quick = {"mode": "poke", "poke_interval": 0.1}
step("prepare", raw.as_named_input("raw").as_mount(), prepared, **quick)
step("train", prepared.as_input(), PipelineParameter("rate"), model, **quick)
step("evaluate", model.as_input(), report, **quick)
"""
FILES = {
    "data/raw.txt": "One two Three",
    "src/words.py": '''
        def clean(text):
            """Lower case."""
            return text.lower()
    ''',
    "src/prepare.py": """
        import sys
        from words import clean

        text = clean(open(sys.argv[1]).read())
        open(sys.argv[2] + "/words.txt", "w").write(text)
    """,
    "src/train.py": """
        import sys

        words = open(sys.argv[1] + "/words.txt").read().split()
        open(sys.argv[3], "w").write(max(words, key=len) + " at " + sys.argv[2])
    """,
    "src/evaluate.py": """
        import sys

        open(sys.argv[2], "w").write("found " + open(sys.argv[1]).read())
    """,
}
FIRST = "found three at 0.1"
PATIENCE_SECONDS = 300.0  # a second Airflow takes its time to start, the more so on a busy machine


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    """The pipeline as every row begins with it, not run yet; its name is the same in all tests here."""
    pipeline = DagFiles(dags.folder, dags.store, dags.log, "peers")
    for name, text in FILES.items():
        pipeline.file(name, text)
    pipeline.dag(PIPELINE, options='params={"rate": 0.1}')
    return pipeline


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the datastore is kept as the first run has left it, once there was one."""
    return tmp_path_factory.mktemp("first_run") / "store"


@pytest.fixture
def done(pipeline: DagFiles, first_run: Path) -> DagFiles:
    """The pipeline after its first run."""
    if first_run.exists():
        shutil.copytree(first_run, pipeline.store)
    else:
        assert ran(pipeline.run()) == STEPS
        shutil.copytree(pipeline.store, first_run)
    return pipeline


def ran(run: RunOutcome, result: str = FIRST) -> list[str]:
    """The steps that ran, the others having been reused; the run's result is *result*."""
    assert run.state == "success", run.text
    assert set(run.actions) == set(STEPS)
    assert run.read("evaluate", "report") == result
    return [name for name in STEPS if run.actions[name] == "ran"]


def edit(dags: DagFiles, name: str, old: str, new: str) -> None:
    path = dags.folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_nothing_changed_so_everything_is_reused_and_the_result_is_there(done: DagFiles) -> None:
    assert ran(done.run()) == []


def test_a_comment_or_a_blank_line_in_a_step_runs_nothing(done: DagFiles) -> None:
    edit(done, "src/train.py", "import sys\n", "import sys\n\n\n# The longest word wins.\n")
    assert ran(done.run()) == []


def test_another_function_in_a_steps_file_runs_that_step_and_what_reads_its_output_is_reused(
    done: DagFiles,
) -> None:
    with (done.folder / "src/train.py").open("a") as script:
        script.write("\n\ndef not_called():\n    return 1\n")
    run = done.run()
    assert ran(run) == ["train"]
    assert run.decision("train")["reason"].startswith("train.py changed (")


def test_a_changed_helper_runs_the_step_that_calls_it_and_what_follows(done: DagFiles) -> None:
    edit(done, "src/words.py", "text.lower()", "text.upper()")
    run = done.run()
    assert ran(run, "found THREE at 0.1") == STEPS
    assert run.decision("prepare")["reason"].startswith("words.py changed (")


def test_an_unrelated_file_in_the_same_folder_runs_nothing(done: DagFiles) -> None:
    done.script("unrelated.py", "import numpy\n")
    done.file("notes.txt", "beside the step's folder")
    assert ran(done.run()) == []


@pytest.mark.slow  # test_reuse.py has it as well
def test_a_parameter_runs_what_reads_it_and_back_again_finds_the_first_result(done: DagFiles) -> None:
    other = done.run(rate=0.2)
    assert ran(other, "found three at 0.2") == ["train", "evaluate"]
    assert other.decision("train")["reason"] == "argument 2 0.1 -> 0.2"
    assert ran(done.run(rate=0.1)) == []
    assert ran(done.run(rate=0.2), "found three at 0.2") == []


@pytest.mark.slow  # test_reuse.py has it as well
def test_really_changed_code_runs_its_step_and_what_follows(done: DagFiles) -> None:
    edit(done, "src/train.py", "max(", "min(")
    assert ran(done.run(), "found one at 0.1") == ["train", "evaluate"]


def test_an_input_that_was_only_touched_runs_nothing(done: DagFiles) -> None:
    os.utime(done.folder / "data/raw.txt")
    assert ran(done.run()) == []


@pytest.mark.slow  # the next test changes it so that it is harder to see
def test_a_changed_input_runs_what_depends_on_it(done: DagFiles) -> None:
    done.file("data/raw.txt", "One two Three four eleven")
    assert ran(done.run(), "found eleven at 0.1") == STEPS


def test_a_changed_input_of_the_same_size_and_time_is_seen_by_a_memory_that_knows_the_old_one(
    done: DagFiles,
) -> None:
    raw = done.folder / "data/raw.txt"
    while time.time() - raw.stat().st_ctime < 2.1:  # younger files are not remembered
        time.sleep(0.1)
    assert ran(done.run()) == []
    rewrite(raw, "One two Seven")
    assert ran(done.run(), "found seven at 0.1") == STEPS


def test_an_upgraded_package_that_a_helper_uses_runs_the_step(
    pipeline: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed"
    monkeypatch.setenv("PYTHONPATH", str(installed))
    pipeline.script("words.py", "import tinytext\n\ndef clean(text):\n    return tinytext.change(text)\n")
    install(installed, "tinytext", "1.0", "def change(text):\n    return text.lower()\n")
    install(installed, "bystander", "1.0", "")
    assert ran(pipeline.run()) == STEPS
    assert ran(pipeline.run()) == []
    install(installed, "bystander", "2.0", "X = 1\n")
    assert ran(pipeline.run()) == []
    install(installed, "tinytext", "1.1", "def change(text):\n    return text.upper()\n")
    run = pipeline.run()
    assert ran(run, "found THREE at 0.1") == STEPS
    assert run.decision("prepare")["reason"] == "package tinytext 1.0 -> 1.1"


def install(folder: Path, name: str, version: str, source: str) -> None:
    """Put a distribution of one module in place of its other version, as an installer does."""
    for old in (*folder.glob(f"{name}-*"), *folder.glob("__pycache__")):
        shutil.rmtree(old)
    for path, content in distribution(name, version, source).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.mark.slow  # test_reuse.py has it as well
def test_a_step_that_reruns_to_the_same_bytes_leaves_what_follows_alone(done: DagFiles) -> None:
    edit(done, "src/words.py", "text.lower()", "text.casefold()")
    assert ran(done.run()) == ["prepare"]


def test_the_same_bytes_leave_the_steps_of_another_pipeline_alone_too(done: DagFiles) -> None:
    done.dag(PIPELINE, name="other", options='params={"rate": 0.1}')
    assert ran(done.run("other")) == []
    edit(done, "src/words.py", "text.lower()", "text.casefold()")
    assert ran(done.run("other")) == ["prepare"]
    assert ran(done.run()) == []


@pytest.mark.slow  # tests/system/test_faults.py has two runs at once on one Airflow
def test_of_two_identical_runs_at_once_each_step_runs_once_and_both_have_the_result(
    pipeline: DagFiles, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    for name in STEPS:
        with (pipeline.folder / f"src/{name}.py").open("a") as script:
            script.write(COUNTED.format(runs=str(tmp_path / "runs"), gate=str(gate), name=name))
    with AnotherAirflow(pipeline, tmp_path / "rival") as rival:
        rival.wait_for(tmp_path / "runs")
        pipeline.log.when("which runs the same step", gate.unlink)
        assert "prepare" not in ran(pipeline.run())
        assert rival.result() == FIRST
    assert sorted((tmp_path / "runs").read_text().split()) == sorted(STEPS)


COUNTED = """
import os, time
with open({runs!r}, "a") as runs:
    runs.write("{name}\\n")
while os.path.exists({gate!r}):
    time.sleep(0.02)
"""
RUN_DAG = """
import sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
from tests.airflow.harness import BUNDLE, outcome

folder, dag_id, answer = sys.argv[1:]
bag = BundleDagBag(folder, bundle_path=Path(folder), bundle_name=BUNDLE)
run = bag.dags[dag_id].test()
done = outcome(dag_id, run.run_id, str(run.state), [])
Path(answer).write_text(done.read("evaluate", "report") if done.state == "success" else done.state)
"""


class AnotherAirflow:
    """A second Airflow, with its own database, that runs the pipeline of *dags* on the same datastore."""

    def __init__(self, dags: DagFiles, folder: Path) -> None:
        shutil.copytree(os.environ["AIRFLOW_HOME"], folder)
        self._answer = folder / "answer.txt"
        self._log = folder / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", RUN_DAG, dags.folder, dags.dag_id(), self._answer],
                env={**os.environ, "AIRFLOW_HOME": str(folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> AnotherAirflow:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, path: Path) -> None:
        """Return when there is a file *path*."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not path.exists():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def result(self) -> str:
        """What the pipeline made, once it has ended."""
        self._process.wait(PATIENCE_SECONDS)
        assert self._answer.exists(), self._log.read_text()
        return self._answer.read_text()


def test_a_step_whose_process_group_is_killed_half_way_leaves_nothing_that_is_taken_for_done(
    pipeline: DagFiles, tmp_path: Path
) -> None:
    (tmp_path / "kill").touch()
    with (pipeline.folder / "src/train.py").open("r+") as script:
        text = script.read()
        script.seek(0)
        script.write(KILLED.format(kill=str(tmp_path / "kill")) + text)
    killed = pipeline.run()
    assert killed.states == {"prepare": "success", "train": "failed", "evaluate": "upstream_failed"}
    (tmp_path / "kill").unlink()
    assert ran(pipeline.run()) == ["train", "evaluate"]
    assert ran(pipeline.run()) == []


KILLED = """
import os, signal, sys
if os.path.exists({kill!r}):
    open(sys.argv[3], "w").write("ha")
    os.killpg(0, signal.SIGKILL)
"""


def test_after_a_failed_edit_another_parameter_and_the_first_one_give_their_own_results(
    done: DagFiles,
) -> None:
    edit(done, "src/train.py", '" at "', '" at " + undefined_name')
    assert done.run().state == "failed"
    edit(done, "src/train.py", '" at " + undefined_name', '" at "')
    assert ran(done.run(rate=0.2), "found three at 0.2") == ["train", "evaluate"]
    assert ran(done.run()) == []


def test_an_output_that_overwrote_a_good_one_before_the_step_failed_is_nobodys_result(done: DagFiles) -> None:
    with (done.folder / "src/train.py").open("a") as script:
        script.write("raise SystemExit('too late')\n")
    assert done.run().state == "failed"
    edit(done, "src/train.py", "raise SystemExit('too late')\n", "")
    assert ran(done.run()) == []


@pytest.mark.slow  # test_damage.py has it as well
def test_a_deleted_output_is_made_again_when_a_dependent_needs_it(done: DagFiles) -> None:
    shutil.rmtree(stored(done, "prepare", "prepared"))
    run = done.run(rate=0.2)
    assert ran(run, "found three at 0.2") == STEPS
    assert "are damaged: output 'prepared': words.txt is missing" in run.decision("prepare")["reason"]


@pytest.mark.slow  # test_damage.py has it as well
def test_a_corrupted_output_is_made_again_when_a_dependent_needs_it(done: DagFiles) -> None:
    rewrite(stored(done, "prepare", "prepared") / "words.txt", "one two thrxx")
    assert ran(done.run(rate=0.2), "found three at 0.2") == STEPS


def test_a_corrupted_output_stops_its_reader_where_only_sizes_are_verified(
    done: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "size")
    rewrite(stored(done, "prepare", "prepared") / "words.txt", "one two thrxx")
    run = done.run(rate=0.2)
    assert run.states == {"prepare": "success", "train": "failed", "evaluate": "upstream_failed"}
    assert "input prepared is not what its step had sealed; the next run makes it again" in run.text
    assert ran(done.run(rate=0.2), "found three at 0.2") == STEPS


def stored(dags: DagFiles, task_id: str, output: str) -> Path:
    """Where the datastore keeps the only output of that name."""
    (place,) = dags.store.glob(f"mlpipe/v1/attempts/{task_id}-*/outputs/{output}")
    return place


def test_a_second_working_copy_reuses_what_the_first_has_made_and_keeps_its_edits_to_itself(
    done: DagFiles, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(done.folder, copy)
    second = DagFiles(copy, done.store, done.log, "peers")
    assert ran(second.run()) == []
    edit(second, "src/train.py", "max(", "min(")
    assert ran(second.run(), "found one at 0.1") == ["train", "evaluate"]
    assert ran(done.run()) == []
