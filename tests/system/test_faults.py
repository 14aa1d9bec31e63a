"""What goes wrong in the middle, on a real scheduler: kills, time-outs, two runs at once."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.pipelines import waiting
from tools.airflow_instance import AirflowInstance
from tools.airflow_processes import processes_of

pytestmark = pytest.mark.system


def began(airflow: AirflowInstance, signals: Path, times: int = 1) -> list[Path]:
    """Wait until the script has begun so often; the files by which it says so."""
    return airflow.wait_until(
        lambda: found if len(found := sorted(signals.glob("began-*"))) >= times else None,
        lambda: f"the script to begin in {signals}",
        90,
    )


def running_children(signals: Path) -> list[int]:
    """The processes that scripts have started and that still live, zombies not among them."""
    return [pid for file in signals.glob("began-*") if _lives(pid := int(file.read_text()))]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def manifests(airflow: AirflowInstance, dag_id: str) -> list[Path]:
    steps = airflow.home / "mlpipe" / "mlpipe" / "v1" / "steps"
    return [path for path in steps.rglob("manifest.json") if f'"dag_id":"{dag_id}"' in path.read_text()]


def supervisors(airflow: AirflowInstance) -> list[psutil.Process]:
    """The processes that look after a step."""
    found = []
    for process in processes_of(airflow.home):
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            if "airflow_mlpipe.runtime" in process.cmdline():
                found.append(process)
    return found


def task_process(airflow: AirflowInstance) -> psutil.Process:
    """The process in which Airflow runs the task: the parent of the step's supervisor."""
    [supervisor] = supervisors(airflow)
    parent = supervisor.parent()
    assert parent is not None
    return parent


def worker_of(airflow: AirflowInstance, task: dict[str, Any]) -> psutil.Process:
    """The process of a task instance, which Airflow names after it."""
    title = f"airflow worker -- {task['id']}"
    [process] = [process for process in processes_of(airflow.home) if _title(process) == title]
    return process


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):  # it may end while it is looked at
        return " ".join(process.cmdline()).strip()
    return ""


def until_one_is(airflow: AirflowInstance, state: str, dag_id: str, runs: list[str]) -> None:
    def states() -> list[str]:
        return [task["state"] for run in runs for task in airflow.task_instances(dag_id, run)]

    airflow.wait_until(lambda: state in states() or None, lambda: f"one of {dag_id} to be {state}", 90)


@pytest.fixture(autouse=True)
def nothing_is_left_running(airflow: AirflowInstance) -> Iterator[None]:
    yield
    airflow.wait_until(
        lambda: None if supervisors(airflow) else True, lambda: "all that looked after steps to end", 60
    )


@pytest.mark.slow  # test_taskflow.py has two such runs
def test_two_runs_at_once_run_the_step_once(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "two_at_once")
    runs = [airflow.trigger("two_at_once", run_id=name) for name in ("one", "two")]
    began(airflow, signals)
    time.sleep(3)  # long enough for the second to look, were it not to wait
    (signals / "finish").touch()
    assert [airflow.wait_for_run("two_at_once", run) for run in runs] == ["success", "success"]
    assert len(list(signals.glob("began-*"))) == 1
    decisions = [airflow.xcom("two_at_once", run, "work", "mlpipe_decision") for run in runs]
    assert sorted(decision["action"] for decision in decisions) == ["ran", "reused"]
    assert airflow.xcom("two_at_once", runs[0], "work") == airflow.xcom("two_at_once", runs[1], "work")


@pytest.mark.slow  # test_taskflow.py has two such runs
def test_two_deferrable_runs_at_once_run_the_step_once(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "two_deferred", "deferrable=True")
    runs = [airflow.trigger("two_deferred", run_id=name) for name in ("one", "two")]
    began(airflow, signals)
    until_one_is(airflow, "deferred", "two_deferred", runs)
    (signals / "finish").touch()
    assert [airflow.wait_for_run("two_deferred", run) for run in runs] == ["success", "success"]
    assert len(list(signals.glob("began-*"))) == 1


def test_a_worker_killed_in_the_middle_is_followed_by_a_retry_that_joins_the_step(
    airflow: AirflowInstance,
) -> None:
    signals = waiting(airflow, "killed_worker", "retries=2, retry_delay=timedelta(seconds=1)")
    run = airflow.trigger("killed_worker")
    began(airflow, signals)
    task_process(airflow).send_signal(signal.SIGKILL)
    airflow.wait_until(
        lambda: True if "still running: following it" in _log(airflow, "killed_worker", run, 2) else None,
        lambda: "the retry to follow the step",
        90,
    )
    (signals / "finish").touch()
    assert airflow.wait_for_run("killed_worker", run) == "success"
    assert len(list(signals.glob("began-*"))) == 1
    assert airflow.xcom("killed_worker", run, "work", "mlpipe_decision")["action"] == "ran"
    assert len(manifests(airflow, "killed_worker")) == 1


@pytest.mark.slow  # tests/airflow/test_crash_points.py kills the worker then, too
def test_a_worker_killed_before_the_seal_loses_nothing(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "killed_late", "retries=2, retry_delay=timedelta(seconds=8)")
    run = airflow.trigger("killed_late")
    began(airflow, signals)
    task_process(airflow).send_signal(signal.SIGKILL)
    (signals / "finish").touch()  # the step ends while no worker looks after it
    assert airflow.wait_for_run("killed_late", run) == "success"
    assert len(list(signals.glob("began-*"))) == 1
    assert "has finished: taking over its outputs" in _log(airflow, "killed_late", run, 2)


def test_a_worker_killed_while_it_waits_for_another_run_is_followed_by_a_retry_that_reuses(
    airflow: AirflowInstance,
) -> None:
    dag_id = "killed_waiter"
    signals = waiting(airflow, dag_id, 'mode="poke", retries=2, retry_delay=timedelta(seconds=1)')
    maker = airflow.trigger(dag_id, run_id="maker")
    began(airflow, signals)
    waiter = airflow.trigger(dag_id, run_id="waiter")
    airflow.wait_until(
        lambda: "waiting for" in _log(airflow, dag_id, waiter, 1) or None, lambda: "the second to wait", 90
    )
    [task] = airflow.task_instances(dag_id, waiter)
    worker_of(airflow, task).send_signal(signal.SIGKILL)
    airflow.wait_until(
        lambda: "waiting for" in _log(airflow, dag_id, waiter, 2) or None, lambda: "its retry to wait", 90
    )
    (signals / "finish").touch()
    assert [airflow.wait_for_run(dag_id, run) for run in (maker, waiter)] == ["success", "success"]
    assert len(list(signals.glob("began-*"))) == 1
    assert airflow.xcom(dag_id, waiter, "work", "mlpipe_decision")["action"] == "reused"


def test_a_worker_killed_together_with_the_step_is_followed_by_a_retry_that_runs_again(
    airflow: AirflowInstance,
) -> None:
    signals = waiting(airflow, "killed_both", "retries=2, retry_delay=timedelta(seconds=1)")
    run = airflow.trigger("killed_both")
    began(airflow, signals)
    worker, [supervisor] = task_process(airflow), supervisors(airflow)
    worker.send_signal(signal.SIGKILL)
    supervisor.send_signal(signal.SIGKILL)
    began(airflow, signals, times=2)
    assert manifests(airflow, "killed_both") == []
    assert len(running_children(signals)) == 1
    (signals / "finish").touch()
    assert airflow.wait_for_run("killed_both", run) == "success"
    assert len(manifests(airflow, "killed_both")) == 1


@pytest.mark.slow  # tests/airflow/test_peers.py kills one without a scheduler
def test_a_killed_step_is_sealed_by_nobody_and_runs_again(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "killed_step", "retries=1, retry_delay=timedelta(seconds=1)")
    run = airflow.trigger("killed_step")
    [file] = began(airflow, signals)
    psutil.Process(int(file.read_text())).parent().send_signal(signal.SIGKILL)  # type: ignore[union-attr]
    began(airflow, signals, times=2)
    assert manifests(airflow, "killed_step") == []
    assert "killed by signal 9" in _log(airflow, "killed_step", run, 1)
    (signals / "finish").touch()
    assert airflow.wait_for_run("killed_step", run) == "success"


def test_marking_a_step_failed_ends_its_whole_process_tree(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "marked_failed")
    run = airflow.trigger("marked_failed")
    began(airflow, signals)
    airflow.mark("marked_failed", run, "work", "failed")
    airflow.wait_until(
        lambda: None if running_children(signals) else True, lambda: "the step's children to end", 60
    )
    assert manifests(airflow, "marked_failed") == []


@pytest.mark.slow  # tests/airflow/test_failures.py has it without a scheduler
def test_a_step_that_takes_too_long_is_ended_with_its_whole_process_tree(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "too_long", "execution_timeout=timedelta(seconds=10)")
    run = airflow.trigger("too_long")
    assert airflow.wait_for_run("too_long", run) == "failed"
    assert list(signals.glob("began-*"))
    assert running_children(signals) == []
    assert manifests(airflow, "too_long") == []


def test_a_scheduler_killed_in_the_middle_does_not_cost_the_work(airflow: AirflowInstance) -> None:
    signals = waiting(airflow, "killed_scheduler", "retries=3, retry_delay=timedelta(seconds=1)")
    run = airflow.trigger("killed_scheduler")
    began(airflow, signals)
    airflow.kill("scheduler", signal.SIGKILL)
    airflow.restart("scheduler")
    (signals / "finish").touch()
    assert airflow.wait_for_run("killed_scheduler", run) == "success"
    assert len(list(signals.glob("began-*"))) == 1
    assert len(manifests(airflow, "killed_scheduler")) == 1


@pytest.mark.slow  # a killed scheduler and a waiting run are tested above, one by one
def test_a_scheduler_killed_while_a_second_run_waits_costs_neither(airflow: AirflowInstance) -> None:
    dag_id = "killed_while_waiting"
    signals = waiting(airflow, dag_id, "deferrable=True, retries=3, retry_delay=timedelta(seconds=1)")
    runs = [airflow.trigger(dag_id, run_id=name) for name in ("one", "two")]
    began(airflow, signals)
    until_one_is(airflow, "deferred", dag_id, runs)
    airflow.kill("scheduler", signal.SIGKILL)
    airflow.restart("scheduler")
    (signals / "finish").touch()
    assert [airflow.wait_for_run(dag_id, run) for run in runs] == ["success", "success"]
    assert len(list(signals.glob("began-*"))) == 1
    assert airflow.xcom(dag_id, "one", "work") == airflow.xcom(dag_id, "two", "work")


def _log(airflow: AirflowInstance, dag_id: str, run: str, try_number: int) -> str:
    try:
        return airflow.log_text(dag_id, run, "work", try_number)
    except Exception:
        return ""
