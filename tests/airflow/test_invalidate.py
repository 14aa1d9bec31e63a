"""Outputs that are taken away, by somebody's word or as garbage: what the next run does, and says."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.cli.cli_parser import get_parser
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from fastapi.testclient import TestClient
from sqlalchemy import update

from airflow_mlpipe.pipeline.recording import Recorder
from airflow_mlpipe.store.layout import invalidation_key, manifest_key
from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.script("use.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read() + ' and used')")
    dags.dag(
        """
        made = PipelineData("made")
        step("make", made)
        step("use", made.as_input(), PipelineData("used"))
        """
    )
    return dags


def airflow_mlpipe(*words: str) -> None:
    args = get_parser().parse_args(["mlpipe", *words])
    args.func(args)


def be(dags: DagFiles, done: RunOutcome, state: DagRunState) -> None:
    """Let Airflow's database say that the run is in *state*."""
    with create_session() as session:
        session.execute(
            update(DagRun)
            .where(DagRun.dag_id == dags.dag_id(), DagRun.run_id == done.run_id)
            .values(state=state)
        )


def test_an_invalidated_step_runs_again_and_says_who_and_why(pipeline: DagFiles) -> None:
    first = pipeline.run()
    step = f"{pipeline.dag_id()}/{first.run_id}/make"
    airflow_mlpipe("invalidate", step, "--reason", "labels were wrong")
    assert pipeline.run().actions == {"make": "reused", "use": "reused"}
    airflow_mlpipe("invalidate", step, "--reason", "labels were wrong", "--yes")
    second = pipeline.run()
    assert second.actions == {"make": "ran", "use": "reused"}
    assert second.decision("make")["kinds"] == ["invalidated"]
    reason = second.decision("make")["reason"]
    assert reason.startswith(f"its outputs were invalidated by {getpass.getuser()} ")
    assert reason.endswith(" ago: labels were wrong")
    assert pipeline.run().actions == {"make": "reused", "use": "reused"}
    assert not pipeline.datastore.exists(invalidation_key(first.decision("make")["fingerprint"]))


def test_a_whole_dag_is_invalidated_by_its_id(pipeline: DagFiles) -> None:
    pipeline.run()
    airflow_mlpipe("invalidate", "--dag", pipeline.dag_id(), "--yes")
    assert pipeline.run().actions == {"make": "ran", "use": "ran"}


def test_collected_outputs_are_made_again_and_the_log_says_what_took_them(pipeline: DagFiles) -> None:
    first = pipeline.run()
    airflow_mlpipe("gc", "--max-size", "0 B", "--grace", "0.001 s", "--yes")
    assert pipeline.sealed() == []
    assert not pipeline.attempt_path(first, "make").exists()
    second = pipeline.run()
    assert second.actions == {"make": "ran", "use": "ran"}
    assert "invalidated by garbage collection" in second.decision("make")["reason"]
    assert second.read("use", "used") == "made and used"


@pytest.mark.parametrize("state", [DagRunState.RUNNING, DagRunState.QUEUED])
def test_outputs_of_a_run_that_is_not_over_are_not_collected(pipeline: DagFiles, state: DagRunState) -> None:
    pipeline.run()
    later = pipeline.run()
    be(pipeline, later, state)
    airflow_mlpipe("gc", "--max-size", "0 B", "--grace", "0.001 s", "--yes")
    assert len(pipeline.sealed()) == 2
    assert later.read("use", "used") == "made and used"
    be(pipeline, later, DagRunState.SUCCESS)
    airflow_mlpipe("gc", "--max-size", "0 B", "--grace", "0.001 s", "--yes")
    assert pipeline.sealed() == []


def test_a_manifest_withdrawn_between_look_and_record_is_not_reused(
    pipeline: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pipeline.run()
    fingerprint = first.decision("make")["fingerprint"]
    record = Recorder.reusing

    def withdrawn_then_recorded(recorder: Recorder, sensing: Any) -> None:
        if recorder.preparation.fingerprint == fingerprint:
            pipeline.datastore.delete(manifest_key(fingerprint))
        record(recorder, sensing)

    monkeypatch.setattr(Recorder, "reusing", withdrawn_then_recorded)
    assert pipeline.run().actions == {"make": "ran", "use": "reused"}


@pytest.fixture
def web() -> Iterator[TestClient]:
    """The web app, as a user sees it who may change all runs."""
    from airflow_mlpipe.plugins.web import app

    create_auth_manager().init()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ann", role="op")
    yield TestClient(app)
    app.dependency_overrides.clear()


def test_the_web_app_withdraws_nothing_that_another_dag_has_made(
    dags: DagFiles, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has made the outputs in a store that is only read, the other in the deployment's own."""
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag('step("make", PipelineData("made"))', name="theirs")
    dags.dag('step("make", PipelineData("made"))', name="mine")
    fingerprint = dags.run("mine").decision("make")["fingerprint"]
    elsewhere = dags.store.with_name("elsewhere")
    shutil.move(dags.store, elsewhere)
    assert dags.run("theirs").decision("make")["fingerprint"] == fingerprint
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_DATASTORES", str(elsewhere))
    answer = web.delete(f"/dags/{dags.dag_id('mine')}/manifests/{fingerprint}")
    assert answer.status_code == 200
    assert dags.datastore.exists(manifest_key(fingerprint))
    answer = web.delete(f"/dags/{dags.dag_id('theirs')}/manifests/{fingerprint}")
    assert answer.status_code == 200
    assert not dags.datastore.exists(manifest_key(fingerprint))
