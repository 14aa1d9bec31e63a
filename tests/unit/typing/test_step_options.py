"""The keywords that type checkers know are those that a step takes."""

from __future__ import annotations

import inspect

from airflow.sdk import BaseOperator, BaseSensorOperator

from airflow_mlpipe.decorators.options import StepOptions, TaskOptions, WaitingOptions
from airflow_mlpipe.operators.function import FunctionStep
from airflow_mlpipe.sensors.output_reuse import OutputReuseSensor

# What @step itself says to the operator: the function, its parameters, and what follows from its signature.
SAID_BY_THE_DECORATOR = {
    *("python_callable", "op_args", "op_kwargs", "unroll"),
    *("entry", "arguments", "inputs", "outputs"),
}


def keywords(*classes: type) -> set[str]:
    """The names of the keywords that the constructors of *classes* take."""
    parameters = [item for each in classes for item in inspect.signature(each.__init__).parameters.values()]
    return {item.name for item in parameters if item.kind is inspect.Parameter.KEYWORD_ONLY} | {"task_id"}


def test_every_keyword_of_a_task_is_an_option() -> None:
    assert set(TaskOptions.__annotations__) == keywords(BaseOperator)


def test_every_keyword_of_a_task_that_waits_is_an_option() -> None:
    expected = keywords(BaseOperator, BaseSensorOperator) | {"deferrable"}
    assert set(WaitingOptions.__annotations__) == expected


def test_every_keyword_of_a_step_is_an_option_but_those_that_the_decorator_gives() -> None:
    expected = keywords(BaseOperator, BaseSensorOperator, OutputReuseSensor, FunctionStep)
    assert set(StepOptions.__annotations__) == expected - SAID_BY_THE_DECORATOR
