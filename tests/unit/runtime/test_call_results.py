"""What of a function's return is small JSON, what becomes an artifact, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import CallSpec, ReturnedValues
from airflow_mlpipe.runtime.annotations import Pickle
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, read_descriptor
from airflow_mlpipe.runtime.call_results import LARGEST_INLINE, hand_on

HandOn = Callable[..., ReturnedValues]


@pytest.fixture
def unroll(tmp_path: Path) -> HandOn:
    """Hands on what is returned, under names of its own, by a function of that annotation."""

    def unroll(returned: Any, annotation: Any = Any, **fields: Any) -> ReturnedValues:
        def train() -> None: ...

        train.__annotations__ = {"return": annotation}
        return hand_on(
            returned, train, CallSpec("@function.train", "train", str(tmp_path), unrolls=True, **fields)
        )

    return unroll


@pytest.fixture
def whole(tmp_path: Path) -> HandOn:
    """Hands on what is returned, as one value, by a function of that annotation."""

    def whole(returned: Any, annotation: Any = Any) -> ReturnedValues:
        def train() -> None: ...

        train.__annotations__ = {"return": annotation}
        return hand_on(returned, train, CallSpec("@function.train", "train", str(tmp_path)))

    return whole


class FittedTuple(NamedTuple):
    loss: float
    model: bytes


@dataclass
class FittedObject:
    loss: float
    model: bytes


class FittedDict(TypedDict):
    model: bytes
    loss: float


@pytest.mark.parametrize("kind", [dict, FittedTuple, FittedObject, FittedDict])
def test_what_has_names_unrolls(unroll: HandOn, kind: type, tmp_path: Path) -> None:
    returned = unroll(kind(loss=0.5, model=b"w"), kind, fields=["loss", "model"])
    assert returned == ReturnedValues({"loss": 0.5}, ["model"], unrolled=True)
    assert read_artifact(tmp_path / "model") == b"w"


def test_an_empty_dict_unrolls_into_nothing(unroll: HandOn) -> None:
    assert unroll({}) == ReturnedValues(unrolled=True)


def test_nothing_is_a_result_where_it_has_a_name(unroll: HandOn, whole: HandOn) -> None:
    assert unroll({"best": None}) == ReturnedValues({"best": None}, unrolled=True)
    assert whole(None) == ReturnedValues()


def test_a_value_that_does_not_unroll_is_one(whole: HandOn, tmp_path: Path) -> None:
    assert whole({"a": (1, 2)}) == ReturnedValues({"return_value": {"a": [1, 2]}})
    assert whole(FittedTuple(0.5, b"w")[0]) == ReturnedValues({"return_value": 0.5})
    assert whole(b"w") == ReturnedValues(artifacts=["return_value"])
    assert read_artifact(tmp_path / "return_value") == b"w"


def test_json_travels_up_to_256_kibibytes_of_utf8(unroll: HandOn, capsys: pytest.CaptureFixture[str]) -> None:
    assert LARGEST_INLINE == 262_144
    fitting = "é" * 131_071  # two bytes each, and two quotes around them
    returned = unroll({"fits": fitting, "text": fitting + "x", "list": [fitting, 1]})
    assert (list(returned.values), returned.artifacts) == (["fits"], ["text", "list"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("airflow_mlpipe: what train returned under 'text' is 262,145 bytes of JSON, more")
    assert second.startswith(
        "airflow_mlpipe: what train returned under 'list' is 262,148 bytes of JSON, more"
    )


def test_much_json_is_read_again_as_it_would_be_if_it_were_little(whole: HandOn, tmp_path: Path) -> None:
    whole(tuple(range(100_000)))
    assert read_descriptor(tmp_path / "return_value").type == "list"
    assert read_artifact(tmp_path / "return_value") == list(range(100_000))


@pytest.mark.parametrize("key", ["__classname__", "__id__", "__type"])
def test_what_airflow_would_take_for_another_object_is_an_artifact(
    whole: HandOn, unroll: HandOn, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert whole([{key: "os.path"}]) == ReturnedValues(artifacts=["return_value"])
    assert read_artifact(tmp_path / "return_value") == [{key: "os.path"}]
    assert f"holds the key {key!r}, by which Airflow would take a dict for another" in capsys.readouterr().out
    with pytest.raises(UserError, match=f"returned the key '{key}', by which Airflow"):
        unroll({key: 1})


class MarkedTuple(NamedTuple):
    loss: float
    model: Pickle[complex]


@dataclass
class MarkedObject:
    loss: float
    model: Pickle[complex]


class MarkedDict(TypedDict):
    loss: float
    model: Pickle[complex]


@pytest.mark.parametrize("kind", [MarkedTuple, MarkedObject, MarkedDict])
def test_a_field_that_is_marked_is_pickled(unroll: HandOn, kind: type, tmp_path: Path) -> None:
    returned = unroll(kind(loss=0.5, model=1j), kind)
    assert returned == ReturnedValues({"loss": 0.5}, ["model"], unrolled=True)
    assert read_descriptor(tmp_path / "model").format == "pickle"


def test_a_mark_on_the_values_of_a_dict_or_on_the_whole_counts(
    unroll: HandOn, whole: HandOn, tmp_path: Path
) -> None:
    unroll({"model": 1j}, dict[str, Pickle[complex]])
    whole((1, 2), Pickle[tuple[int, int]])
    assert read_descriptor(tmp_path / "model").format == "pickle"
    assert read_artifact(tmp_path / "return_value", Pickle[tuple[int, int]]) == (1, 2)


def test_no_value_is_not_pickled(whole: HandOn, unroll: HandOn) -> None:
    assert whole(None, Pickle[complex] | None) == ReturnedValues()
    assert unroll({"model": None}, dict[str, Pickle[complex]]).values == {"model": None}


@pytest.mark.parametrize(
    ("returned", "call", "sentence"),
    [
        (1, {}, "what train returned is of type int, and its results have names of their own; return a dict"),
        (None, {}, "what train returned is of type NoneType, and its results have names of their own"),
        (FittedTuple, {}, "what train returned is of type type, and"),
        ({1: 2}, {}, "train returned the key 1; a key is a text that is not empty"),
        ({"": 2}, {}, "train returned the key ''; a key is a text that is not empty"),
        (
            {"metrics": 2},
            {},
            "train returned the key 'metrics', under which every step hands on something else",
        ),
        ({"mlpipe_decision": 2}, {}, "train returned the key 'mlpipe_decision', under which every step"),
        ({"return_value": 2}, {}, "train returned the key 'return_value', under which every step"),
        (
            {"model": 2},
            {"outputs": ["model"]},
            "'model' is written twice: by the Output parameter of that name and by what train returned; give",
        ),
        (
            {"a": 1, "c": 2},
            {"fields": ["a", "b"]},
            "train returned 'a', 'c', and its annotation declares 'a', 'b'; return what is declared, no more",
        ),
        ({}, {"fields": ["a"]}, "train returned nothing, and its annotation declares 'a'"),
        (
            {"a-b": b"x"},
            {},
            "train returned under 'a-b' cannot be handed on: it is stored under its key, and 'a-b' cannot",
        ),
        ({"../a": b"x"}, {}, "it is stored under its key, and '../a' cannot name a folder"),
        ({"a" * 65: b"x"}, {}, "cannot name a folder; use up to 64 letters, digits and '_'"),
        (
            {"a": float("nan")},
            {},
            "under 'a' cannot be handed on: it is the float nan, which JSON has no word",
        ),
        (
            {"a": [{1}]},
            {},
            "under 'a' cannot be handed on: at [0] it holds a value of type set, which is not JSON; write it",
        ),
        (
            {"a": {1}},
            {},
            "under 'a' cannot be handed on: no artifact format writes the type set; write it to",
        ),
        ((i for i in [1]), {}, "train returned a generator, whose values are not there yet; return a list"),
    ],
)
def test_what_does_not_fit_is_refused(unroll: HandOn, returned: Any, call: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        unroll(returned, **call)
    assert sentence in str(caught.value)


def test_any_key_does_for_small_json(unroll: HandOn) -> None:
    assert unroll({"a-b/c": 1}).values == {"a-b/c": 1}


def test_a_coroutine_is_refused_without_a_warning_that_nobody_awaited_it(whole: HandOn) -> None:
    async def train() -> int:
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="train returned a coroutine, which nobody awaits here"):
            whole(train())
