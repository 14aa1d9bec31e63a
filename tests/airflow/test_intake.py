"""Inputs that are not what was fingerprinted: before a step reads them, and after it has."""

from __future__ import annotations

import pytest

from tests.airflow.harness import DagFiles, rewrite

pytestmark = pytest.mark.airflow

MAKE = 'open(__import__("sys").argv[1], "w").write("good bytes")'
USE = """
    import sys
    data, result, way = sys.argv[1:]
    text = open(data).read()
    if way == "spoils":
        import os
        os.chmod(data, 0o644)
        open(data, "w").write("spoilt bytes")
    open(result, "w").write(text)
"""
PIPELINE = """
made = PipelineData("made")
step("make", made)
step("use", made.as_input(), PipelineData("used"), PipelineParameter("way"))
"""


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    dags.script("make.py", MAKE)
    dags.script("use.py", USE)
    dags.dag(PIPELINE, options='params={"way": "reads"}')
    return dags


def test_a_step_does_not_run_on_a_damaged_output_and_the_next_run_makes_it_anew(
    pipeline: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "size")  # so that the damage is not found before
    first = pipeline.run()
    rewrite(first.path("make", "made"), "evil bytes")  # as many as before
    second = pipeline.run(way="looks")
    assert second.states["use"] == "failed"
    assert "input made is not what its step had sealed" in second.text
    third = pipeline.run(way="looks")
    assert third.actions == {"make": "ran", "use": "ran"}
    assert third.read("use", "used") == "good bytes"


def test_a_step_that_spoils_its_input_is_not_kept_and_the_input_is_made_anew(pipeline: DagFiles) -> None:
    spoilt = pipeline.run(way="spoils")
    assert spoilt.state == "success"
    assert not spoilt.decision("use")["sealed"]
    assert "its outputs are not kept for reuse: input made is not what its step had sealed" in spoilt.text
    assert pipeline.run(way="reads").actions == {"make": "ran", "use": "ran"}


def test_a_dataset_that_changes_while_the_step_runs_is_not_taken_for_what_it_was(dags: DagFiles) -> None:
    raw = dags.file("raw.txt", "before")
    dags.script(
        "use.py",
        f"""
        import sys
        text = open(sys.argv[1]).read()
        open({str(raw)!r}, "w").write("after")
        open(sys.argv[2], "w").write(text)
    """,
    )
    dags.dag('step("use", Dataset.File.from_files("raw.txt"), PipelineData("used"))')
    first = dags.run()
    assert first.read("use", "used") == "before"
    assert not first.decision("use")["sealed"]
    assert "was changed since it was hashed" in first.text
    again = dags.run()
    assert again.actions == {"use": "ran"}
    assert again.read("use", "used") == "after"
