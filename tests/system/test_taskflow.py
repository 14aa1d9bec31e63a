"""Functions as steps on a real scheduler: fan-outs, plain tasks beside them, failed instances, waits."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

import pytest

from tools.airflow_instance import AirflowInstance
from tools.airflow_processes import airflow_command

pytestmark = pytest.mark.system

FAN_OUT = """
    from __future__ import annotations

    import uuid
    from pathlib import Path
    from typing import NamedTuple

    import numpy as np
    from airflow.sdk import dag, task

    from airflow_mlpipe import Output, Run, step

    BEGUN = Path("{signals}")


    class Prepared(NamedTuple):
        table: np.ndarray
        mean: float


    @task.mlpipe
    def shards(count: int) -> list[int]:
        return list(range(1, count + 1))


    @step
    def prepare(rows: int, report: Output[Path]) -> Prepared:
        table = np.arange(rows)
        report.write_text(f"{{rows}} rows")
        Run.get_context().log("rows", rows)
        return Prepared(table, float(table.mean()))


    @step
    def score(table: np.ndarray, shard: int) -> dict[str, int]:
        (BEGUN / f"score-{{shard}}-{{uuid.uuid4().hex}}").touch()
        return {{"shard": shard, "sum": int(table.sum()) * shard}}


    @task.mlpipe
    def total(scores: list[dict[str, int]]) -> int:
        return sum(score["sum"] for score in scores)


    @task
    def announce(prepared, report, total):
        return [prepared["mean"], prepared["table"].load().tolist(), report.open(mode="r").read(), total]


    @dag(dag_id="{dag_id}", schedule=None, max_active_runs=4)
    def pipeline():
        prepared = prepare(4)
        scores = score.partial(table=prepared["table"]).expand(shard=shards(3))
        summed = total(scores)
        announce(prepared, prepared["report"], summed)

        @task.branch
        def choose(total):
            return "large" if total > 10 else "small"

        large, small = (task(lambda: None).override(task_id=name)() for name in ("large", "small"))
        choose(summed) >> [large, small]


    pipeline()
"""
STEPS = ["shards", "prepare", "score[0]", "score[1]", "score[2]", "total"]

FAILED_INDEX = """
    from pathlib import Path

    from airflow.sdk import DAG

    from airflow_mlpipe import step

    REPAIRED = Path("{signals}") / "repaired"


    @step
    def score(shard: int) -> int:
        if shard == 1 and not REPAIRED.exists():
            raise ValueError("no such shard")
        return 10 * shard


    @step(trigger_rule="all_done")
    def total(scores: list[int | None]) -> dict[str, object]:
        missing = [index for index, score in enumerate(scores) if score is None]
        return {{"missing": missing, "sum": sum(score or 0 for score in scores)}}


    with DAG("{dag_id}", schedule=None):
        total(score.expand(shard=[0, 1, 2]))
"""

WAITING = """
    import time
    import uuid
    from pathlib import Path

    from airflow.sdk import DAG

    from airflow_mlpipe import Output, step


    @step(poke_interval=9, {options})
    def work(signals: str, name: str, result: Output[Path]) -> str:
        (Path(signals) / f"began-{{uuid.uuid4().hex}}").touch()
        while not (Path(signals) / "finish").exists():
            time.sleep(0.05)
        result.write_text(name)
        return name


    with DAG("{dag_id}", schedule=None, max_active_runs=4):
        work("{signals}", "{dag_id}")
"""


def add_dag(airflow: AirflowInstance, dag_id: str, text: str, **values: str) -> Path:
    """Add the DAG in *text*; returns the folder in which its functions say what they do."""
    signals = airflow.home / "signals" / dag_id
    signals.mkdir(parents=True)
    path = airflow.dags_folder / f"{dag_id}.py"
    path.write_text(textwrap.dedent(text).lstrip().format(dag_id=dag_id, signals=signals, **values))
    airflow.wait_for_dag(dag_id)
    return signals


def actions(airflow: AirflowInstance, dag_id: str, run_id: str) -> dict[str, str]:
    """What became of each step, an instance of a mapped one called ``score[0]``."""
    found = {}
    for instance in airflow.task_instances(dag_id, run_id):
        task_id, index = instance["task_id"], instance["map_index"]
        name = task_id if index < 0 else f"{task_id}[{index}]"
        if name in STEPS and instance["state"] == "success":
            found[name] = airflow.xcom(dag_id, run_id, task_id, "mlpipe_decision", index)["action"]
    return found


def test_a_fan_out_of_two_runs_at_once_is_executed_once_and_then_reused(airflow: AirflowInstance) -> None:
    dag_id = "taskflow_fan_out"
    signals = add_dag(airflow, dag_id, FAN_OUT)
    runs = [airflow.trigger(dag_id, run_id=name) for name in ("one", "two")]
    assert [airflow.wait_for_run(dag_id, run) for run in runs] == ["success", "success"]
    begun = sorted(path.name.split("-")[1] for path in signals.glob("score-*"))
    assert begun == ["1", "2", "3"]
    first, second = (actions(airflow, dag_id, run) for run in runs)
    assert [sorted({first[name], second[name]}) for name in STEPS] == [["ran", "reused"]] * len(STEPS)

    planned = subprocess.run(
        airflow_command("mlpipe", "plan", dag_id),
        env=airflow.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "3 of 3" in planned

    later = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, later) == "success"
    assert actions(airflow, dag_id, later) == dict.fromkeys(STEPS, "reused")
    for run in (*runs, later):
        assert airflow.xcom(dag_id, run, "total") == 36
        assert airflow.xcom(dag_id, run, "announce") == [1.5, [0, 1, 2, 3], "4 rows", 36]
        states = {task["task_id"]: task["state"] for task in airflow.task_instances(dag_id, run)}
        assert (states["large"], states["small"]) == ("success", "skipped")
        assert airflow.xcom(dag_id, run, "prepare", "metrics") == {"rows": 4}


@pytest.mark.slow  # tests/airflow/test_fan_out.py has it without a scheduler
def test_a_failed_instance_is_missed_by_the_reducer_at_its_index_and_runs_alone_next_time(
    airflow: AirflowInstance,
) -> None:
    dag_id = "taskflow_failed_index"
    signals = add_dag(airflow, dag_id, FAILED_INDEX)
    first = airflow.trigger(dag_id)
    airflow.wait_for_run(dag_id, first)
    assert airflow.xcom(dag_id, first, "total") == {"missing": [1], "sum": 20}
    assert "score are missing for 1 of 3 instances" in airflow.log_text(dag_id, first, "total")
    assert actions(airflow, dag_id, first) == {"score[0]": "ran", "score[2]": "ran", "total": "ran"}
    (signals / "repaired").touch()
    second = airflow.trigger(dag_id)
    assert airflow.wait_for_run(dag_id, second) == "success"
    assert airflow.xcom(dag_id, second, "total") == {"missing": [], "sum": 30}
    assert actions(airflow, dag_id, second) == {
        "score[0]": "reused",
        "score[1]": "ran",
        "score[2]": "reused",
        "total": "ran",
    }


def test_a_function_that_another_run_calls_is_waited_for_in_the_triggerer_and_by_rescheduling(
    airflow: AirflowInstance,
) -> None:
    waits = {"deferred": "deferrable=True", "up_for_reschedule": 'mode="reschedule"'}
    dags = {f"taskflow_{state}": state for state in waits}
    signals = {
        dag_id: add_dag(airflow, dag_id, WAITING, options=waits[state]) for dag_id, state in dags.items()
    }
    runs = {dag_id: [airflow.trigger(dag_id, run_id=name) for name in ("one", "two")] for dag_id in dags}
    for dag_id, state in dags.items():

        def is_waiting(dag_id: str = dag_id, state: str = state) -> bool | None:
            states = [airflow.task_instances(dag_id, run)[0]["state"] for run in runs[dag_id]]
            return state in states or None

        airflow.wait_until(is_waiting, lambda dag_id=dag_id: f"a run of {dag_id} to wait", 90)  # type: ignore[misc]
        (signals[dag_id] / "finish").touch()
    for dag_id in dags:
        assert [airflow.wait_for_run(dag_id, run) for run in runs[dag_id]] == ["success", "success"]
        assert len(list(signals[dag_id].glob("began-*"))) == 1
        decisions = [airflow.xcom(dag_id, run, "work", "mlpipe_decision") for run in runs[dag_id]]
        assert sorted(decision["action"] for decision in decisions) == ["ran", "reused"]
        assert [airflow.xcom(dag_id, run, "work") for run in runs[dag_id]] == [dag_id, dag_id]
