"""``airflow mlpipe`` typed beside a running Airflow, and the web app behind its login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.pipelines import retraining
from tests.system.terminal import terminal
from tests.typed import Typed
from tools.airflow_api import AirflowApi, AirflowRequestError
from tools.airflow_instance import AirflowInstance

pytestmark = pytest.mark.system

DAG = "tended"
STEPS = ("prepare", "train", "evaluate")


@pytest.fixture(scope="module")
def folder(airflow: AirflowInstance) -> Path:
    folder = retraining(airflow, DAG)
    # Data of its own: the datastore is shared with the other tests, which count on a first run.
    (folder / "data" / "raw.txt").write_text("Tea Milk Sugar Salt")
    return folder


@pytest.fixture(scope="module")
def mlpipe(
    airflow: AirflowInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Typed]]:
    """Type ``airflow mlpipe`` and these words in a terminal of the machine that runs Airflow."""
    with terminal(airflow.environment, tmp_path_factory.mktemp("terminal")) as beside:
        yield lambda *words: beside.type("mlpipe", *words)


@pytest.fixture(scope="module")
def run(airflow: AirflowInstance, folder: Path) -> Callable[..., str]:
    """Run the pipeline to its success; returns the run id."""

    def trigger(**arguments: Any) -> str:
        run_id = airflow.trigger(DAG, **arguments)
        assert airflow.wait_for_run(DAG, run_id) == "success"
        return run_id

    return trigger


@pytest.fixture(scope="module")
def first(run: Callable[..., str]) -> str:
    return run()


def planned(mlpipe: Callable[..., Typed], *words: str) -> dict[str, str]:
    steps = mlpipe("plan", DAG, *words, "-o", "json").json["steps"]
    return {step["task_id"]: step["action"] for step in steps}


def decided(airflow: AirflowInstance, run_id: str) -> dict[str, str]:
    return {step: airflow.xcom(DAG, run_id, step, "mlpipe_decision")["action"] for step in STEPS}


def test_a_plan_says_what_the_next_run_does(
    airflow: AirflowInstance, mlpipe: Callable[..., Typed], first: str, run: Callable[..., str]
) -> None:
    assert planned(mlpipe) == dict.fromkeys(STEPS, "reuse")
    assert mlpipe("plan", DAG, "--exit-code").code == 0
    conf = '{"lr": 0.5}'
    assert planned(mlpipe, "--conf", conf) == {"prepare": "reuse", "train": "run", "evaluate": "unknown"}
    assert mlpipe("plan", DAG, "--conf", conf, "--exit-code").code == 3
    changed = run(params={"lr": 0.5})
    assert decided(airflow, changed) == {"prepare": "reused", "train": "ran", "evaluate": "ran"}


@pytest.mark.slow  # tests/airflow/test_explain.py has it without the executable
def test_explain_names_the_changed_line_of_a_helper_two_steps_up(
    mlpipe: Callable[..., Typed], folder: Path, first: str, run: Callable[..., str]
) -> None:
    helper = folder / "src" / "words.py"
    before = helper.read_text()
    helper.write_text(before.replace("text.lower()", "text.lower() + ' more'"))
    try:
        edited = run()
    finally:
        helper.write_text(before)
    explained = mlpipe("explain", DAG, edited, "evaluate", "--against", first)
    assert explained.code == 0
    assert "words.py" in explained.out
    assert "prepare" in explained.out
    told = mlpipe("explain", DAG, edited, "prepare", "--against", first).out
    assert "-    return text.lower()" in told
    assert "+    return text.lower() + ' more'" in told


def test_outputs_are_listed_and_fetched(mlpipe: Callable[..., Typed], first: str, tmp_path: Path) -> None:
    step = f"{DAG}/{first}/evaluate"
    assert [record["run_id"] for record in mlpipe("runs", DAG, "-o", "json", "--limit", "0").json].count(
        first
    ) == 3
    assert "report: file" in mlpipe("show", step).out
    assert mlpipe("outputs", step, "-o", "json").json[0]["name"] == "report"
    assert mlpipe("download", step, "--to", str(tmp_path)).code == 0
    assert (tmp_path / "report").read_text() == "report on 4 words at 0.1"
    assert mlpipe("verify", "--level", "digest").code == 0


@pytest.mark.slow  # tests/airflow/test_invalidate.py has it without the executable
def test_what_is_invalidated_runs_again_and_says_why(
    airflow: AirflowInstance, mlpipe: Callable[..., Typed], first: str, run: Callable[..., str]
) -> None:
    step = f"{DAG}/{first}/train"
    assert mlpipe("invalidate", step).code == 0
    assert planned(mlpipe)["train"] == "reuse"
    assert mlpipe("invalidate", step, "--reason", "bad labels", "--yes").code == 0
    again = run()
    assert decided(airflow, again)["train"] == "ran"
    log = airflow.log_text(DAG, again, "train")
    assert "running: its outputs were invalidated by " in log
    assert "bad labels" in log
    assert planned(mlpipe)["train"] == "reuse"


def test_garbage_is_only_told_of_until_somebody_says_yes(
    airflow: AirflowInstance, mlpipe: Callable[..., Typed], first: str, run: Callable[..., str]
) -> None:
    store = airflow.home / "mlpipe"
    before = sorted(path for path in store.rglob("*") if path.is_file())
    answer = mlpipe("gc", "--keep", "1")
    assert (answer.code, answer.err) == (0, answer.err)
    assert sorted(path for path in store.rglob("*") if path.is_file()) == before
    assert mlpipe("gc", "--keep", "1", "--yes").code == 0
    # Everything here was used within the last day, which is spared.
    assert decided(airflow, run()) == dict.fromkeys(STEPS, "reused")


def test_the_doctor_finds_this_installation_in_order(mlpipe: Callable[..., Typed], first: str) -> None:
    answer = mlpipe("doctor")
    assert answer.code == 0, answer.out
    assert "FAIL" not in answer.out


@pytest.mark.slow  # tests/unit/cli and tests/airflow/test_plan.py ask for such sentences in their process
def test_a_mistake_on_the_command_line_is_a_sentence(mlpipe: Callable[..., Typed], first: str) -> None:
    for words in (
        ("plan", "no_such_dag"),
        ("plan", DAG, "--conf", "{"),
        ("explain", DAG, "no_such_run", "train"),
        ("show", "nothing"),
    ):
        answer = mlpipe(*words)
        assert answer.code == 1, words
        assert answer.out == "", words
        assert answer.err.splitlines()[-1].startswith("airflow mlpipe: "), answer.err
        assert "Traceback" not in answer.err


@pytest.fixture(scope="module")
def viewer(airflow: AirflowInstance) -> AirflowApi:
    """A user who may see everything and change nothing."""
    api = AirflowApi(airflow.url)
    api.log_in("viewer", airflow.password_of("viewer"))
    return api


def manifest_path(airflow: AirflowInstance, run_id: str, step: str) -> str:
    fingerprint = airflow.xcom(DAG, run_id, step, "mlpipe_decision")["fingerprint"]
    return f"/mlpipe/dags/{DAG}/manifests/{fingerprint}"


def test_documents_are_shown_to_viewers_and_not_to_strangers(
    airflow: AirflowInstance, viewer: AirflowApi, first: str
) -> None:
    paths = [
        manifest_path(airflow, first, "prepare"),
        f"/mlpipe/dags/{DAG}/runs/{first}/tasks/prepare/explanation",
    ]
    for path in paths:
        assert viewer.request("GET", path)["schema_version"] == 1
        with pytest.raises(AirflowRequestError) as refused:
            AirflowApi(airflow.url).request("GET", path)
        assert refused.value.status == 401


def test_outputs_are_invalidated_over_http_by_those_who_may_change_runs(
    airflow: AirflowInstance, viewer: AirflowApi, first: str, run: Callable[..., str]
) -> None:
    path = manifest_path(airflow, first, "evaluate")
    with pytest.raises(AirflowRequestError) as refused:
        viewer.request("DELETE", path)
    assert refused.value.status == 403
    assert airflow.request("DELETE", f"{path}?reason=wrong+metric")["invalidated"] in path
    again = run()
    assert "invalidated by admin" in airflow.log_text(DAG, again, "evaluate")
    assert "wrong metric" in airflow.log_text(DAG, again, "evaluate")
