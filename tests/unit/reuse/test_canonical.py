from __future__ import annotations

import math
import struct
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.errors import UnhashableValueError
from airflow_mlpipe.reuse.canonical import digest, encode

# Pinned for good: a change here makes every stored output of every user unfindable.
GOLDEN = [
    (None, b"n"),
    (True, b"t"),
    (False, b"f"),
    (0, b"i1:0"),
    (-17, b"i3:-17"),
    (1.0, b"d\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    (-0.0, b"d\x80\x00\x00\x00\x00\x00\x00\x00"),
    ("", b"s0:"),
    ("größe", b"s7:gr\xc3\xb6\xc3\x9fe"),
    (b"\x00", b"b1:\x00"),
    ([], b"l0:"),
    ([1, "1"], b"l2:i1:1s1:1"),
    ({}, b"m0:"),
    ({"b": [], "a": None}, b"m2:s1:ans1:bl0:"),
]

GOLDEN_DIGESTS = [
    (None, "1b16b1df538ba12dc3f97edbb85caa7050d46c148134290feba80f8236c83db9"),
    (
        {"lr": 0.1, "layers": [64, 64], "name": "net", "bias": True},
        "a4b2ab165d84959c50930bf08642a8d9dcfdc52577705da7c69de08a2078c91e",
    ),
]

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def identity(value: Any) -> Any:
    """*value* in a form in which Python's own ``==`` tells apart what a digest must tell apart."""
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else struct.pack(">d", value))
    if isinstance(value, list):
        return ("list", [identity(item) for item in value])
    if isinstance(value, dict):
        return ("dict", {key: identity(item) for key, item in value.items()})
    return (type(value).__name__, value)


def shuffled(value: Any) -> Any:
    """*value* with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("value", "encoding"), GOLDEN)
def test_the_encoding_of_a_value_never_changes(value: Any, encoding: bytes) -> None:
    assert encode(value) == encoding


@pytest.mark.parametrize(("value", "expected"), GOLDEN_DIGESTS)
def test_the_digest_of_a_value_never_changes(value: Any, expected: str) -> None:
    assert digest(value) == expected


@given(plain, plain)
def test_two_values_share_a_digest_only_when_they_are_the_same(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (identity(one) == identity(other))


@given(st.lists(plain, max_size=5), st.lists(plain, max_size=5))
def test_no_encoding_is_the_beginning_of_another(one: list[Any], other: list[Any]) -> None:
    # Otherwise two lists could meet: the end of an item would be taken for the start of the next.
    encodings = {encode(item) for item in [*one, *other]}
    assert not [(a, b) for a in encodings for b in encodings if a != b and b.startswith(a)]


@given(plain)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    assert digest(shuffled(value)) == digest(value)


@pytest.mark.parametrize(
    "values",
    [
        [1, True, 1.0, "1", b"1", [1], {"1": 1}],
        [0, False, 0.0, -0.0, "", b"", [], {}, None],
        [[1, 11], [11, 1], [111], ["1", "11"], [[1], 11], [1, [11]]],
        [{"a": {"b": 1}}, {"a.b": 1}, {"a": ["b", 1]}, ["a", "b", 1]],
        [{"a": None}, {}, {"a": {}}],
    ],
)
def test_values_that_python_or_json_confuses_all_differ(values: list[Any]) -> None:
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, (2,)), [1, [2]]),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (math.nan, -math.nan),
    ],
)
def test_values_that_are_the_same_in_json_have_one_digest(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({1}, r"^value is \{1\} of type set, which has no canonical encoding; use None, bool,"),
        (Path("/data"), r"^value is PosixPath\('/data'\) of type PosixPath"),
        (Decimal("0.1"), r"^value is Decimal\('0\.1'\) of type Decimal"),
        ({"a": [1, 2j]}, r"^value\['a'\]\[1\] is 2j of type complex"),
        ({"a": {1: 2}}, r"^value\['a'\] has the key 1; only str keys have a canonical encoding"),
    ],
)
def test_any_other_value_is_refused_by_its_place(value: Any, sentence: str) -> None:
    with pytest.raises(UnhashableValueError, match=sentence):
        digest(value)


def test_a_refusal_is_a_type_error_too() -> None:
    with pytest.raises(TypeError):
        digest(object())
