"""What a run, or a step's author, may ask of reuse."""

from __future__ import annotations

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

STEP = 'step("make", PipelineData("made"){keyword})'


@pytest.fixture
def made(dags: DagFiles) -> DagFiles:
    """One step that writes something else each time it runs."""
    dags.script("make.py", "import sys, uuid; open(sys.argv[1], 'w').write(uuid.uuid4().hex)")
    dags.dag(STEP.format(keyword=""))
    return dags


@pytest.mark.parametrize("switch", [{"reuse": "refresh"}, {"regenerate_outputs": True}])
def test_refresh_runs_and_later_runs_reuse_its_result(made: DagFiles, switch: dict[str, object]) -> None:
    first = made.run()
    refreshed = made.run(mlpipe=switch)
    assert refreshed.decision("make")["reason"] == "the run's configuration asks for a refresh"
    assert refreshed.read("make", "made") != first.read("make", "made")
    later = made.run()
    assert later.actions == {"make": "reused"}
    assert later.returned("make") == refreshed.returned("make")


def test_bypass_runs_and_stores_nothing(made: DagFiles) -> None:
    first = made.run()
    bypassed = made.run(mlpipe={"reuse": "bypass"})
    assert bypassed.decision("make")["reason"] == "the run's configuration bypasses reuse"
    assert bypassed.decision("make")["sealed"] is False
    assert bypassed.reference("make", "made").sealed is False
    assert "its outputs are not kept for reuse: the run's configuration says bypass" in bypassed.text
    assert bypassed.read("make", "made") != first.read("make", "made")
    assert made.run().returned("make") == first.returned("make")


def test_read_only_reuses_what_there_is_and_stores_nothing_new(made: DagFiles) -> None:
    assert made.run(mlpipe={"reuse": "read_only"}).actions == {"make": "ran"}
    assert made.sealed() == []
    made.run()
    assert made.run(mlpipe={"reuse": "read_only"}).actions == {"make": "reused"}


def test_normal_is_what_happens_without_a_word(made: DagFiles) -> None:
    made.run()
    assert made.run(mlpipe={"reuse": "normal"}).actions == {"make": "reused"}
    assert made.run(mlpipe={}).actions == {"make": "reused"}


@pytest.mark.parametrize(
    ("switch", "sentence"),
    [
        (
            {"reuse": "refesh"},
            'conf["mlpipe"]["reuse"] is \'refesh\'; it must be one of normal, refresh, bypass, read_only',
        ),
        ({"resue": "refresh"}, "conf[\"mlpipe\"] has 'resue'; it knows reuse, regenerate_outputs, max_age"),
        ("refresh", 'conf["mlpipe"] is \'refresh\'; it must be an object such as {"reuse": "refresh"}'),
        (
            {"regenerate_outputs": "yes"},
            'conf["mlpipe"]["regenerate_outputs"] is \'yes\'; it must be true or false',
        ),
    ],
)
def test_a_misspelt_switch_fails_the_step_at_once_instead_of_being_ignored(
    made: DagFiles, switch: object, sentence: str
) -> None:
    made.dag(STEP.format(keyword=", retries=2"))
    run = made.run(mlpipe=switch)
    assert run.states == {"make": "failed"}
    assert run.tries == {"make": 1}
    assert sentence in run.text


def test_regenerate_outputs_runs_each_time_and_stores(made: DagFiles) -> None:
    made.dag(STEP.format(keyword=", regenerate_outputs=True"))
    made.run()
    second = made.run()
    assert second.decision("make")["reason"] == "regenerate_outputs asks for a refresh"
    made.dag(STEP.format(keyword=""))
    assert made.run().returned("make") == second.returned("make")


def test_allow_reuse_false_runs_each_time(made: DagFiles) -> None:
    made.dag(STEP.format(keyword=", allow_reuse=False"))
    assert [made.run().actions["make"] for _ in range(2)] == ["ran", "ran"]
    assert made.run().decision("make")["reason"] == "allow_reuse is False"


def test_a_step_without_outputs_runs_each_time_unless_it_is_told_otherwise(dags: DagFiles) -> None:
    dags.script("act.py", "print('acting')")
    dags.dag('step("act")')
    runs = [dags.run() for _ in range(2)]
    assert [run.actions["act"] for run in runs] == ["ran", "ran"]
    assert runs[1].decision("act")["reason"] == "the step declares no output, so it runs for its side effects"
    dags.dag('step("act", allow_reuse=True)')
    dags.run()
    assert dags.run().actions == {"act": "reused"}


def test_outputs_beyond_their_max_age_are_made_anew_and_replaced(made: DagFiles) -> None:
    first = made.run()
    made.dag(STEP.format(keyword=", max_age=timedelta(microseconds=1)"))
    run = made.run()
    assert run.decision("make")["kinds"] == ["too_old"]
    assert "max_age is 0" in run.decision("make")["reason"]
    assert run.returned("make") != first.returned("make")
    made.dag(STEP.format(keyword=", max_age=timedelta(days=1)"))
    later = made.run()
    assert later.actions == {"make": "reused"}
    assert later.returned("make") == run.returned("make")


def test_with_the_scope_of_the_directory_every_file_and_every_byte_counts(made: DagFiles) -> None:
    made.dag(STEP.format(keyword=', code_scope="directory"'))
    made.run()
    script = made.folder / "src/make.py"
    script.write_text(script.read_text() + "\n# a comment\n")
    run = made.run()
    assert run.decision("make")["reason"].startswith("make.py changed (")
    made.script("unrelated.py", "x = 1")
    assert made.run().decision("make")["reason"] == "unrelated.py added"


def test_a_path_to_hash_counts_though_the_script_does_not_reach_it(made: DagFiles) -> None:
    made.script("plugin.py", "x = 1")
    made.dag(STEP.format(keyword=', hash_paths=["plugin.py"]'))
    made.run()
    assert made.run().actions == {"make": "reused"}
    made.script("plugin.py", "x = 2")
    assert made.run().decision("make")["reason"].startswith("plugin.py changed (")
