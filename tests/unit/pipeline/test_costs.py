"""What steps take in seconds and money, summed up."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.pipeline.costs import Balance, Expense, compute_of
from airflow_mlpipe.store.manifest import ManifestCompute
from airflow_mlpipe.store.run_record import RunRecord


def record(action: Literal["ran", "reused"] = "ran", **fields: Any) -> RunRecord:
    values: dict[str, Any] = {
        "status": "succeeded",
        "seconds": None,
        "saved_seconds": None,
        "decided_at": 5.0,
        "finished_at": 7.0,
        **fields,
    }
    return RunRecord(
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=-1,
        try_number=1,
        action=action,
        reasons=(),
        fingerprint="ab" * 32,
        attempt="t-1",
        sealed=True,
        compared_with=None,
        inputs={},
        snapshot=None,
        store="file:///store",
        **values,
    )


def test_a_manifest_says_nothing_of_the_workers_machine_unless_that_has_a_price() -> None:
    assert compute_of(LocalTarget()) is None
    assert compute_of(LocalTarget("big", cost_per_hour=2)) == ManifestCompute(
        target="big", type="local", cost_per_hour=2.0
    )
    assert compute_of(DockerTarget("gpu")) == ManifestCompute(target="gpu", type="docker")


def test_costs_are_seconds_at_the_price_of_an_hour() -> None:
    assert Expense.at(LocalTarget(cost_per_hour=3.0), 1800) == Expense(1800, 1.5)
    assert Expense.at(LocalTarget(cost_per_hour=0), 1800) == Expense(1800, 0.0)
    assert Expense.at(LocalTarget(), 1800) == Expense(1800)


def test_a_sum_has_a_cost_as_soon_as_one_of_its_parts_has() -> None:
    assert Expense(1) + Expense(2) == Expense(3)
    assert Expense(1, 0.5) + Expense(2) == Expense(3, 0.5)
    assert Expense(1, 0.5) + Expense(2, 0.25) == Expense(3, 0.75)


def test_a_balance_keeps_apart_what_ran_what_was_saved_and_what_was_lost() -> None:
    ran = record(seconds=7200.0, cost=6.0, lost_seconds=1800.0, lost_cost=1.5)
    reused = record("reused", seconds=780.0, cost=0.65, saved_seconds=780.0, saved_cost=0.65)
    failed = record(status="failed", lost_seconds=1800.0, lost_cost=1.5)
    balance = Balance.of([ran, reused, failed])
    assert balance == Balance(Expense(7200.0, 6.0), Expense(780.0, 0.65), Expense(3600.0, 3.0))
    assert balance.sentence() == (
        "ran for 2 h and 6.00 of compute, saved 13 min and 0.65 of compute, "
        "lost 1 h and 3.00 of compute to infrastructure"
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "took no time"),
        ({"seconds": 41.0}, "ran for 41 s"),
        ({"action": "reused", "seconds": 41.0, "saved_seconds": 41.0}, "saved 41 s"),
    ],
)
def test_a_balance_says_only_what_there_is(fields: Any, sentence: str) -> None:
    assert Balance.of([record(**fields)]).sentence() == sentence
