from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

from airflow_mlpipe.pipeline.identity import TaskIdentity

BEGAN = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=timezone.utc)


def identity(try_number: int = 1, instance: str = "0197", began: datetime = BEGAN) -> TaskIdentity:
    ti = SimpleNamespace(
        dag_id="retrain",
        run_id="scheduled",
        task_id="train",
        map_index=None,
        try_number=try_number,
        id=instance,
    )
    return TaskIdentity.of({"ti": ti, "dag_run": SimpleNamespace(start_date=began)})


def test_tries_of_one_task_instance_own_the_same_lease_and_make_attempts_of_their_own() -> None:
    first, second = identity(1, "0197"), identity(2, "0198")
    assert first.owner == second.owner
    assert first.attempt != second.attempt


def test_equal_runs_of_two_deployments_do_not_own_each_others_leases() -> None:
    assert identity().owner != identity(began=BEGAN + timedelta(microseconds=1)).owner
    assert identity().producer == identity(began=BEGAN + timedelta(microseconds=1)).producer
