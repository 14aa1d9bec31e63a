"""The markers of a function's annotations, and what annotations tell when it is called."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
import typing
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple, TypedDict

import pytest
import typing_extensions

from airflow_mlpipe.runtime.annotations import (
    OUTPUT,
    Input,
    Output,
    Pickle,
    alternatives,
    bare,
    is_input,
    is_output,
    is_pickle,
)
from airflow_mlpipe.runtime.hints import (
    UnevaluatedHint,
    class_of,
    hints_of,
    is_path,
    item_hints,
    value_hint,
)


def marks(hint: Any) -> list[str]:
    return [
        name for name, has in (("input", is_input), ("output", is_output), ("pickle", is_pickle)) if has(hint)
    ]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Input[Path], ["input"]),
        (Output[Path], ["output"]),
        (Pickle[complex], ["pickle"]),
        (Input[Pickle[complex]], ["input", "pickle"]),
        (Pickle[complex] | None, ["pickle"]),
        (typing.Optional[Input[Path]], ["input"]),  # noqa: UP045
        (Pickle[complex | bytes], ["pickle"]),
        (Input, ["input"]),
        (Path, []),
        (Any, []),
        ("Output[Path]", []),
        (list[Pickle[complex]], []),
        (typing.Annotated[Path, "Output"], []),
    ],
)
def test_a_marker_counts_on_the_annotation_and_on_members_of_a_union(hint: Any, expected: list[str]) -> None:
    assert marks(hint) == expected


def test_markers_are_told_from_texts_in_a_real_signature() -> None:
    def train(
        data: Input[Path], model: Output[Path] = OUTPUT, seeds: Input[list[int]] = ()
    ) -> Pickle[complex]:
        return 1j

    hints = hints_of(train)
    assert [marks(hint) for hint in hints.values()] == [["input"], ["output"], ["input"], ["pickle"]]
    assert [bare(hint) for hint in hints.values()] == [Path, Path, list[int], complex]


def test_a_marker_alone_asks_for_anything() -> None:
    assert bare(Input) is Any


def test_the_members_of_a_union_are_its_alternatives() -> None:
    assert alternatives(int | str | None) == [int, str]
    assert alternatives(Pickle[int | str]) == [Pickle[int], Pickle[str]]
    assert alternatives(Input[Path] | None) == [Input[Path]]
    assert alternatives(int) == [int]


def test_the_default_of_an_output_stays_itself_and_says_its_name() -> None:
    assert copy.deepcopy(OUTPUT) is OUTPUT
    assert pickle.loads(pickle.dumps(OUTPUT)) is OUTPUT
    assert repr(OUTPUT) == "OUTPUT"


def test_each_annotation_is_evaluated_on_its_own() -> None:
    def train(data: Path, model: Missing, n: int | None, text: 1 / 0) -> bytes:  # type: ignore # noqa
        return b""

    hints = hints_of(train)
    assert (hints["data"], hints["n"], hints["return"]) == (Path, int | None, bytes)
    assert isinstance(hints["model"], UnevaluatedHint)
    assert hints["model"].why == "name 'Missing' is not defined"
    assert class_of(hints["text"]) is object


class Base:
    first: int


@dataclasses.dataclass
class Fitted(Base):
    model: Pickle[complex]
    broken: Missing  # type: ignore  # noqa: F821


class Named(NamedTuple):
    model: Pickle[complex]


class Typed(TypedDict):
    model: typing_extensions.NotRequired[Pickle[complex]]
    loss: typing_extensions.Required[float]


class OtherTyped(typing_extensions.TypedDict):
    model: Pickle[complex]


@pytest.mark.parametrize("owner", [Fitted, Named, Typed, OtherTyped, dict[str, Pickle[complex]]])
def test_a_field_has_the_annotation_of_its_class(owner: Any) -> None:
    assert value_hint(owner, "model") == Pickle[complex]
    assert value_hint(Input[owner] | None, "model") == Pickle[complex]


def test_fields_of_bases_count_and_unknown_ones_ask_for_nothing() -> None:
    assert hints_of(Fitted)["first"] is int
    assert isinstance(hints_of(Fitted)["broken"], UnevaluatedHint)
    assert value_hint(Typed, "loss") is float
    assert value_hint(Typed, "other") is Any
    for hint in (dict, Any, int, list[int], UnevaluatedHint("Broken", "not defined")):
        assert value_hint(hint, "model") is Any


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (list[int], [int, int, int]),
        (Sequence[int] | None, [int, int, int]),
        (tuple[int, ...], [int, int, int]),
        (tuple[int, str], [int, str, Any]),
        (Input[list[Path]], [Path, Path, Path]),
        (list, [Any, Any, Any]),
        (tuple, [Any, Any, Any]),
        (dict[str, int], [Any, Any, Any]),
        (None, [Any, Any, Any]),
    ],
)
def test_items_have_the_annotation_of_their_place(hint: Any, expected: list[Any]) -> None:
    assert list(itertools.islice(item_hints(hint), 3)) == expected


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (list[int], list),
        (Input[dict[str, int]], dict),
        (Mapping[str, int], Mapping),
        (Typed, dict),
        (OtherTyped, dict),
        (Literal["a"], object),
        (Any, object),
        ("text", object),
    ],
)
def test_the_class_of_an_annotation(hint: Any, expected: type) -> None:
    assert class_of(hint) is expected


@pytest.mark.parametrize("hint", [Path, Input[Path], Path | None, PurePath, PathLike, PathLike[str]])
def test_a_path_is_wanted(hint: Any) -> None:
    assert is_path(hint)


@pytest.mark.parametrize("hint", [Any, str, Path | str, list[Path], object, "Path"])
def test_no_path_is_wanted_or_not_only(hint: Any) -> None:
    assert not is_path(hint)
