"""Where Airflow's scheduler puts the tasks of a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup

from airflow_mlpipe import (
    Command,
    CommandStep,
    DataTransferStep,
    KubernetesTarget,
    LocalTarget,
    OutputReuseSensor,
    step,
)
from airflow_mlpipe.errors import DefinitionError

BIG = LocalTarget("big", pool="big", pool_slots=2, queue="near")
OTHER = LocalTarget("other", pool="other")
PODS = KubernetesTarget("pods", image="python:3.12", pool="gpus", gpus=4)


def a_step(**keywords: Any) -> Any:
    return CommandStep(task_id="one", command=["true"], source_directory=None, **keywords)


def a_mapped_step(**keywords: Any) -> Any:
    partial = CommandStep.partial(task_id="one", command=["true"], source_directory=None, **keywords)
    return partial.expand(environment_variables=[{"A": "1"}])


def a_function(**keywords: Any) -> Any:
    @step(**keywords)
    def one(number: int) -> int:
        return number

    return one(1).operator


def a_mapped_function(**keywords: Any) -> Any:
    @step(**keywords)
    def one(number: int) -> int:
        return number

    return one.expand(number=[1, 2]).operator


EVERY_KIND = pytest.mark.parametrize("made", [a_step, a_mapped_step, a_function, a_mapped_function])


def placed(operator: Any) -> tuple[str, int, str]:
    return operator.pool, operator.pool_slots, operator.queue


@EVERY_KIND
def test_a_step_takes_the_pool_of_the_target_that_the_dag_names_for_all(made: Callable[..., Any]) -> None:
    with DAG("pools", schedule=None, default_args={"compute_target": BIG, "queue": "far"}):
        assert placed(made()) == ("big", 2, "near")


@EVERY_KIND
def test_a_step_takes_the_pool_of_the_target_that_its_group_names(made: Callable[..., Any]) -> None:
    in_group: Any = {"compute_target": OTHER}
    with (
        DAG("pools", schedule=None, default_args={"compute_target": BIG}),
        TaskGroup("group", default_args=in_group),
    ):
        assert placed(made())[:2] == ("other", 1)


@EVERY_KIND
def test_what_a_step_says_itself_wins(made: Callable[..., Any]) -> None:
    with DAG("pools", schedule=None, default_args={"compute_target": BIG}):
        assert placed(made(pool="mine")) == ("mine", 2, "near")
    with DAG("pools", schedule=None, default_args={"compute_target": BIG}):
        assert placed(made(compute_target=OTHER))[0] == "other"


def test_a_step_that_is_mapped_over_targets_is_put_into_the_pool_of_none() -> None:
    with DAG("pools", schedule=None, default_args={"compute_target": BIG}):
        partial = CommandStep.partial(task_id="one", command=["true"], source_directory=None)
        assert placed(partial.expand(compute_target=[OTHER])) == ("default_pool", 1, "default")


def a_transfer(**keywords: Any) -> Any:
    return DataTransferStep(task_id="copy", source="a", destination="b", **keywords)


def a_mapped_transfer(**keywords: Any) -> Any:
    return DataTransferStep.partial(task_id="copy", destination="b", **keywords).expand(source=["a", "c"])


EVERY_TRANSFER = pytest.mark.parametrize("made", [a_transfer, a_mapped_transfer])


@EVERY_TRANSFER
def test_a_transfer_takes_the_pool_of_a_local_target_and_no_slots_of_one_elsewhere(
    made: Callable[..., Any],
) -> None:
    with DAG("pools", schedule=None, default_args={"compute_target": BIG}):
        assert placed(made()) == ("big", 2, "near")
    with DAG("pools", schedule=None, default_args={"compute_target": PODS}):
        assert placed(made()) == ("default_pool", 1, "default")
    with DAG("pools", schedule=None):
        assert placed(made(compute_target=BIG, pool="mine")) == ("mine", 2, "near")


@EVERY_TRANSFER
def test_a_transfer_that_is_sent_to_containers_is_refused(made: Callable[..., Any]) -> None:
    with DAG("pools", schedule=None), pytest.raises(DefinitionError) as told:
        made(compute_target=PODS)
    assert str(told.value) == (
        "step 'copy': compute target 'pods' is of type 'kubernetes', and a transfer passes through the "
        "Airflow worker; leave compute_target out, or name a local one whose queue and pool it is to take"
    )


def test_a_sensor_waits_for_a_target_without_its_slots() -> None:
    with DAG("pools", schedule=None):
        sensor = OutputReuseSensor(
            task_id="wait", entry=Command(argv=["true"]), source_directory=None, compute_target=BIG
        )
    assert placed(sensor) == ("default_pool", 1, "near")
