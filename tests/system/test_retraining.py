"""A pipeline under the real scheduler: triggered by REST, rerun, edited, refreshed."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.pipelines import retraining
from tools.airflow_instance import AirflowInstance

pytestmark = pytest.mark.system

STEPS = ("prepare", "train", "evaluate")
DAG = "retraining"


@pytest.fixture(scope="module")
def folder(airflow: AirflowInstance) -> Path:
    return retraining(airflow, DAG)


@pytest.fixture(scope="module")
def run(airflow: AirflowInstance, folder: Path) -> Callable[..., dict[str, Any]]:
    """Trigger a run, wait for its success, and return the decision of each step."""

    def trigger(**arguments: Any) -> dict[str, Any]:
        run_id = airflow.trigger(DAG, **arguments)
        assert airflow.wait_for_run(DAG, run_id) == "success"
        decisions = {step: airflow.xcom(DAG, run_id, step, "mlpipe_decision") for step in STEPS}
        return {"run_id": run_id, **decisions}

    return trigger


@pytest.fixture(scope="module")
def first(run: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return run()


def actions(outcome: dict[str, Any]) -> list[str]:
    return [outcome[step]["action"] for step in STEPS]


def test_the_first_run_runs_every_step_and_a_plain_task_reads_a_reference(
    airflow: AirflowInstance, first: dict[str, Any]
) -> None:
    assert actions(first) == ["ran", "ran", "ran"]
    assert first["train"]["kinds"] == ["first"]
    assert "the report says report on 3 words at 0.1" in airflow.log_text(DAG, first["run_id"], "announce")
    assert airflow.xcom(DAG, first["run_id"], "announce") == "report"


def test_the_log_says_in_one_line_what_was_decided_and_why(
    airflow: AirflowInstance, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    assert "running: no earlier outputs of this step" in airflow.log_text(DAG, first["run_id"], "train")
    again = run()
    log = airflow.log_text(DAG, again["run_id"], "train")
    assert f"reused outputs of {DAG}/{first['run_id']}/train, made" in log
    assert actions(again) == ["reused", "reused", "reused"]


@pytest.mark.slow  # tests/airflow/test_reuse.py has it without a scheduler
def test_a_reused_step_hands_on_the_same_references(
    airflow: AirflowInstance, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    again = run()
    for step in STEPS:
        assert airflow.xcom(DAG, again["run_id"], step) == airflow.xcom(DAG, first["run_id"], step)
    assert again["train"]["producer"]["run_id"] == first["run_id"]


def test_a_parameter_of_the_trigger_form_reruns_what_depends_on_it(
    airflow: AirflowInstance, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    form = airflow.request("GET", f"/api/v2/dags/{DAG}/details")["params"]
    assert form["lr"]["value"] == 0.1
    changed = run(params={"lr": 0.2})
    assert actions(changed) == ["reused", "ran", "ran"]
    assert changed["train"]["reason"] == "argument --lr 0.1 -> 0.2"
    assert actions(run()) == ["reused", "reused", "reused"]


def test_an_edited_helper_reruns_the_step_that_imports_it_and_stops_there_when_the_bytes_are_equal(
    folder: Path, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    helper = folder / "src" / "words.py"
    helper.write_text(helper.read_text().replace("text.lower()", "text.upper().lower()"))
    edited = run()
    assert actions(edited) == ["ran", "reused", "reused"]
    assert edited["prepare"]["reason"].startswith("words.py changed (")


@pytest.mark.slow  # tests/airflow/test_reuse.py has it without a scheduler
def test_an_edited_script_reruns_its_step_and_what_follows(
    folder: Path, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    script = folder / "src" / "evaluate.py"
    script.write_text(script.read_text().replace("report on ", "a report on "))
    edited = run()
    assert actions(edited) == ["reused", "reused", "ran"]
    assert edited["evaluate"]["reason"].startswith("evaluate.py changed (")


@pytest.mark.slow  # tests/airflow/test_peers.py has it without a scheduler
def test_a_comment_reruns_nothing(
    folder: Path, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    script = folder / "src" / "train.py"
    script.write_text("# how many words there are\n\n" + script.read_text())
    assert actions(run())[1] == "reused"


@pytest.mark.slow  # tests/airflow/test_reuse.py has it without a scheduler
def test_changed_input_of_equal_size_and_time_is_noticed(
    folder: Path, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    import os

    raw = folder / "data" / "raw.txt"
    before = raw.stat()
    raw.write_text("One Two Seven")
    os.utime(raw, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = run()
    assert changed["prepare"]["action"] == "ran"
    assert changed["prepare"]["reason"].startswith("input raw changed (")


@pytest.mark.slow  # tests/airflow/test_reuse_options.py has it without a scheduler
def test_a_refresh_runs_every_step_and_later_runs_reuse_its_results(
    first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    refreshed = run(conf={"mlpipe": {"reuse": "refresh"}})
    assert actions(refreshed) == ["ran", "ran", "ran"]
    assert refreshed["train"]["kinds"] == ["refresh"]
    later = run()
    assert actions(later) == ["reused", "reused", "reused"]
    assert later["prepare"]["producer"]["run_id"] == refreshed["run_id"]


def test_a_misspelt_switch_fails_at_once_with_a_sentence(
    airflow: AirflowInstance, first: dict[str, Any]
) -> None:
    run_id = airflow.trigger(DAG, conf={"mlpipe": {"reuse": "refesh"}})
    assert airflow.wait_for_run(DAG, run_id) == "failed"
    assert "is 'refesh'; it must be one of" in airflow.log_text(DAG, run_id, "prepare")


def test_links_lead_to_the_producer_and_from_there_to_the_manifest_for_those_who_may_see_it(
    airflow: AirflowInstance, first: dict[str, Any], run: Callable[..., dict[str, Any]]
) -> None:
    again = run()

    def links(run_id: str) -> dict[str, Any]:
        place = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/prepare/links"
        found: dict[str, Any] = airflow.request("GET", place)["extra_links"]
        return found

    made_by = again["prepare"]["producer"]
    assert links(again["run_id"])["Producer"].endswith(f"/tasks/{made_by['task_id']}")
    link = links(made_by["run_id"])["Manifest"]
    manifest = airflow.request("GET", link)
    assert manifest["fingerprint"] == again["prepare"]["fingerprint"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(airflow.url + link)
    assert refused.value.code == 401
