from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe import Dataset, PipelineData, PipelineParameter
from airflow_mlpipe.pipeline.functions.signature import Parameter
from airflow_mlpipe.pipeline.functions.values import WrongValue, as_json, checked, is_known_now

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@dataclass
class Config:
    depth: int


class Color(str, Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@given(json_values)
def test_json_passes_as_it_is_where_nothing_is_annotated(value: Any) -> None:
    assert repr(checked(Parameter("x"), value)) == repr(value)


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (float, 1, 1.0),
        (int, 3, 3),
        (str, "a", "a"),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (float | None, 2, 2.0),
        (float | None, None, None),
        (Literal["a", "b"], "b", "b"),
        (tuple[int, int], (1, 2), [1, 2]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Any, (1, (2,)), [1, [2]]),
        (Iterable[int], [1], [1]),
        (Collection[float] | None, (1,), [1.0]),
        (Iterable, {"a": 1}, {"a": 1}),
        (Path | None, None, None),
    ],
)
def test_values_of_the_annotated_type_pass(hint: Any, value: Any, expected: Any) -> None:
    passed = checked(Parameter("x", hint), value)
    assert passed == expected
    assert type(passed) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (float, "0.1", "parameter 'x' is '0.1'; the function asks for float"),
        (int, True, "parameter 'x' is True; the function asks for int"),
        (int, 1.0, "asks for int"),
        (bool, 1, "asks for bool"),
        (str, 1, "asks for str"),
        (Literal["a"], "c", r"asks for Literal\['a'\]"),
        (list[int], [1, "b"], r"list\[int\] \(\[1\]: .*integer"),
        (Path, "raw/data.csv", r"is a path and was given 'raw/data.csv'; .*Dataset.File.from_files"),
        (datetime.date, "2026-01-01", "annotated date, which JSON does not have"),
        (Config, {"depth": 1}, "annotated Config, which JSON does not have"),
        (Point, [1, 2], "annotated Point, which JSON does not have"),
        (Color, "red", "annotated Color, which JSON does not have"),
        (Iterable[int], "ab", r"asks for Iterable\[int\]"),
        (int, None, "is None; the function asks for int, which is also what a task hands on that"),
        (Path, None, "is a path and was given None, which is also what a task hands on that"),
    ],
)
def test_values_of_another_type_are_refused(hint: Any, value: Any, words: str) -> None:
    with pytest.raises(WrongValue, match=words):
        checked(Parameter("x", hint), value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "of type object, which cannot travel"),
        (datetime.date(2026, 1, 1), "of type date"),
        ({1, 2}, "of type set"),
        (b"bytes", "of type bytes"),
        (math.nan, "is nan, which JSON does not have"),
        ([1, {"a": math.inf}], r"x\[1\]\['a'\] is inf"),
        ({1: 2}, "has the key 1 of type int; keys must be texts"),
        (Color.RED, r"is <Color.RED: 'red'>, .*; pass that, Color.RED.value"),
        (Point(1, 2), "of type Point, which cannot travel"),
        (["\ud800"], r"x\[0\] is '\\ud800', a text that is not Unicode"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(WrongValue, match=words):
        as_json(value, "x")


@pytest.mark.parametrize(
    "value",
    [
        PipelineData("a"),
        [1, Dataset.File.from_files("a.csv")],
        {"lr": PipelineParameter("lr")},
        "{{ ds }}",
    ],
)
def test_what_waits_for_the_run_is_not_known_now(value: Any) -> None:
    assert not is_known_now(value)
    assert is_known_now([1, "a", {"b": None}])


def test_numbers_of_other_classes_become_pythons_own() -> None:
    class Degrees(float):
        pass

    assert type(as_json(Degrees(1.5), "x")) is float
    assert type(as_json(True, "x")) is bool
