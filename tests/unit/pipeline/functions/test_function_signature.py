from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import pytest

from airflow_mlpipe import OUTPUT, Input, Output
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature, Returns, without_outputs


class Split(NamedTuple):
    train: Any
    test: Any


@dataclass
class Report:
    accuracy: float


class Scores(TypedDict):
    accuracy: float
    loss: float


def read(
    function: Callable[..., Any], *, multiple_outputs: bool | None = None, returns_value: bool = True
) -> FunctionSignature:
    return FunctionSignature.of(
        function, "step 'train'", multiple_outputs=multiple_outputs, returns_value=returns_value
    )


def test_outputs_are_no_parameters_of_the_caller() -> None:
    def train(data: Input[Path], model: Output[Path], lr: float = 0.1) -> None: ...

    signature = read(train)
    assert signature.outputs == ("model",)
    assert list(signature.parameters) == ["data", "lr"]
    assert list(inspect.signature(without_outputs(train)).parameters) == ["data", "lr"]


def test_an_output_may_have_the_default_that_type_checkers_ask_for() -> None:
    def train(data: Input[Path], model: Output[Path] = OUTPUT, lr: float = 0.1) -> None: ...

    assert read(train).outputs == ("model",)


def test_hints_that_cannot_be_evaluated_here_say_nothing_about_the_others() -> None:
    def train(frame: NotInstalled, model: Output[Path], lr: float) -> None: ...  # type: ignore[name-defined] # noqa: F821

    signature = read(train)
    assert signature.parameters["frame"].hint is Any
    assert signature.parameters["lr"].hint is float
    assert signature.outputs == ("model",)


@pytest.mark.parametrize(
    ("annotation", "multiple_outputs", "expected"),
    [
        (None, None, Returns("nothing")),
        (float, None, Returns("value")),
        (dict, None, Returns("mapping")),
        (dict[str, Any], None, Returns("mapping")),
        (dict[str, Any], False, Returns("value")),
        (Any, True, Returns("mapping")),
        (Split, None, Returns("fields", ("train", "test"))),
        (Report, None, Returns("fields", ("accuracy",))),
        (Scores, None, Returns("fields", ("accuracy", "loss"))),
        (Split, False, Returns("value")),
        (tuple[int, int], None, Returns("value")),
    ],
)
def test_the_annotation_says_what_unrolls(
    annotation: Any, multiple_outputs: bool | None, expected: Returns
) -> None:
    def train() -> Any: ...

    train.__annotations__["return"] = annotation
    assert read(train, multiple_outputs=multiple_outputs).returns == expected


def test_without_an_annotation_the_body_says_whether_something_is_returned() -> None:
    def train():  # type: ignore[no-untyped-def]
        ...

    assert read(train, returns_value=True).returns == Returns("value")
    assert read(train, returns_value=False).returns == Returns("nothing")


def test_parameters_without_names_are_refused() -> None:
    def train(*shards: str) -> None: ...

    def score(**options: str) -> None: ...

    def move(a: int, /) -> None: ...

    with pytest.raises(DefinitionError, match=r"step 'train': its function takes \*shards; .* name them"):
        read(train)
    with pytest.raises(DefinitionError, match=r"takes \*\*options"):
        read(score)
    with pytest.raises(DefinitionError, match="'a' is positional only"):
        read(move)


def test_names_of_airflows_context_are_refused() -> None:
    def train(ds: str) -> None: ...

    with pytest.raises(DefinitionError, match=r"parameter 'ds' is named like .* my_ds='\{\{ ds \}\}'"):
        read(train)


def test_an_output_is_a_path_with_a_name_that_is_free() -> None:
    def wrong(model: Output[int]) -> None: ...

    def taken(metrics: Output[Path]) -> None: ...

    with pytest.raises(DefinitionError, match=r"output 'model' is annotated Output\[int\].* or return the"):
        read(wrong)
    with pytest.raises(DefinitionError, match="output name 'metrics' is taken"):
        read(taken)


def test_an_output_and_a_returned_field_of_one_name_are_refused() -> None:
    def split(train: Output[Path]) -> Split: ...

    with pytest.raises(DefinitionError, match="'train' would be written twice"):
        read(split)


def test_calls_are_checked_by_name() -> None:
    def train(data: Input[Path], model: Output[Path], lr: float = 0.1) -> None: ...

    signature = read(train)
    signature.check_names({"data": 1, "lr": 2})
    with pytest.raises(DefinitionError, match=r"is called with model=\.\.\., which is an output"):
        signature.check_names({"model": 1})
    with pytest.raises(
        DefinitionError, match=r"is called with rate=\.\.\., but its parameters are: data, lr"
    ):
        signature.check_names({"rate": 1})
    with pytest.raises(DefinitionError, match="step 'train' is called without data"):
        signature.check_complete({"lr": 1})
