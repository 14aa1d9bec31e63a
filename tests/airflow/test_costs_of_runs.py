"""What a run cost, what a hit saved and what a machine lost, as log, XCom and record tell it."""

from __future__ import annotations

import pytest

from airflow_mlpipe import explain
from airflow_mlpipe.cli.explain import text_of
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

AN_HOUR = 360_000.0  # a price by which the seconds of a test cost something


def test_a_hit_saves_what_its_run_cost_and_every_witness_says_so(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag(f"""
        gpu = LocalTarget("gpu", cost_per_hour={AN_HOUR})
        step("make", PipelineData("made"), compute_target=gpu)
    """)
    ran = dags.run()
    first = ran.decision("make")
    assert first["cost"] == pytest.approx(first["seconds"] / 3600 * AN_HOUR, rel=0.02)
    assert (first["saved_seconds"], first["saved_cost"]) == (None, None)
    manifest = dags.manifest(ran, "make")
    compute = manifest.compute
    assert compute is not None
    assert manifest.cost is not None
    assert (compute.target, compute.type, compute.cost_per_hour) == ("gpu", "local", AN_HOUR)

    reused = dags.run()
    second = reused.decision("make")
    assert second["action"] == "reused"
    assert second["saved_cost"] == second["cost"] == first["cost"]
    told = f"{manifest.cost:.2f} of compute"
    assert f" and {told}" in next(line for line in reused.log if line.startswith("reused outputs of "))
    explanation = explain(dags.dag_id(), reused.run_id, "make")
    assert explanation.as_document()["saved_cost"] == first["cost"]
    assert told in explanation.verdict
    assert f"and {told}.\n" in text_of(explain(dags.dag_id(), ran.run_id, "make"))


def test_another_price_makes_nothing_run_again(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    body = 'step("make", PipelineData("made"), compute_target=LocalTarget({target}))'
    dags.dag(body.format(target=""))
    ran = dags.run()
    assert dags.manifest(ran, "make").compute is None
    assert ran.decision("make")["cost"] is None
    dags.dag(body.format(target='"gpu", cost_per_hour=3.0'))
    reused = dags.run()
    assert reused.actions == {"make": "reused"}
    assert reused.decision("make")["saved_cost"] is None  # it had no price when it ran


def test_a_step_that_its_machine_lost_is_started_anew_within_its_try(
    dags: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlpipe.pipeline.failures.FIRST_PAUSE_SECONDS", 0.1)
    dags.script(
        "make.py",
        """
        import os, signal, sys
        from airflow_mlpipe import Run
        open(sys.argv[1], "a").write("made")
        if not Run.get_context().id.endswith(".1"):
            os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    dags.dag(f"""
        spot = LocalTarget("spot", infrastructure_retries=2, cost_per_hour={AN_HOUR})
        step("make", PipelineData("made"), compute_target=spot)
    """)
    run = dags.run()
    assert (run.state, run.tries) == ("success", {"make": 1})
    assert run.read("make", "made") == "made"
    said = [line for line in run.log if line.startswith("infrastructure failure")]
    assert len(said) == 1
    assert said[0].startswith("infrastructure failure 1 of 2, starting anew in 0.1 s: step 'make': ")
    assert "the machine that ran it failed: killed by signal 9 (SIGKILL)" in said[0]
    explanation = explain(dags.dag_id(), run.run_id, "make").as_document()
    assert explanation["lost_cost"] == pytest.approx(explanation["lost_seconds"] / 3600 * AN_HOUR, rel=0.02)
    assert run.decision("make")["attempt"].endswith(".1")


def test_a_failure_of_the_steps_own_code_is_never_started_anew_by_its_target(dags: DagFiles) -> None:
    dags.script("make.py", "print('here'); raise SystemExit(3)")
    dags.dag("""
        spot = LocalTarget("spot", infrastructure_retries=2)
        step("make", PipelineData("made"), compute_target=spot)
    """)
    run = dags.run()
    assert run.states == {"make": "failed"}
    assert run.log.count("here") == 1
    assert "step 'make': its own code failed: exited with code 3; its last lines were:" in run.text
