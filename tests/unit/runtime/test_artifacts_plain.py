"""Artifacts of JSON, text, bytes and pickles, and the descriptor that all artifacts have."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections import OrderedDict
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.annotations import Input, Pickle
from airflow_mlpipe.runtime.artifacts.artifact import (
    DESCRIPTOR,
    is_artifact,
    read_artifact,
    read_descriptor,
    write_artifact,
)
from airflow_mlpipe.runtime.artifacts.plain import NotJSONError, as_json, json_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
TREES = st.recursive(LEAVES, lambda items: st.lists(items) | st.dictionaries(TEXTS, items), max_leaves=20)


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


def round_trip(value: object, wanted: Any = Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        write_artifact(value, Path(folder) / "value")
        return read_artifact(Path(folder) / "value", wanted)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=40)
@given(TREES)
def test_json_comes_back_as_it_was(tree: Any) -> None:
    assert as_json(tree) == tree
    back = round_trip(tree)
    assert back == tree
    assert json_text(back) == json_text(tree)  # which tells True from 1 and 1 from 1.0


@settings(max_examples=40)
@given(TEXTS)
def test_text_comes_back_as_it_was(text: str) -> None:
    assert round_trip(text) == text


@settings(max_examples=40)
@given(st.binary())
def test_bytes_come_back_as_they_were(content: bytes) -> None:
    assert round_trip(content) == content
    assert round_trip(content, bytearray) == bytearray(content)


def test_an_artifact_says_what_it_is(tmp_path: Path) -> None:
    descriptor = write_artifact("olá", tmp_path / "value")
    assert is_artifact(tmp_path / "value")
    assert read_descriptor(tmp_path / "value") == descriptor
    assert json.loads((tmp_path / "value" / DESCRIPTOR).read_text()) == {
        "schema_version": 1,
        "format": "text",
        "type": "str",
        "file": "data.txt",
    }
    assert read_artifact(tmp_path / "value", Input[Path]).read_text("utf8") == "olá"


def test_a_folder_without_a_descriptor_is_no_artifact(tmp_path: Path) -> None:
    assert not is_artifact(tmp_path)
    with pytest.raises(DocumentError, match=r"has no \.mlpipe-artifact\.json"):
        read_artifact(tmp_path)


def test_equal_values_are_equal_bytes_in_whatever_order_their_keys_came(tmp_path: Path) -> None:
    write_artifact({"b": 1, "a": [2.5, "x"]}, tmp_path / "one")
    write_artifact(OrderedDict(a=(2.5, "x"), b=1), tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_artifact_is_never_written_over_another(tmp_path: Path) -> None:
    write_artifact("first", tmp_path / "value")
    with pytest.raises(FileExistsError):
        write_artifact("second", tmp_path / "value")
    assert read_artifact(tmp_path / "value") == "first"


def test_json_is_read_as_the_kind_of_sequence_that_is_wanted(tmp_path: Path) -> None:
    write_artifact([1, 2], tmp_path / "value")
    assert read_artifact(tmp_path / "value", tuple[int, ...]) == (1, 2)
    assert read_artifact(tmp_path / "value", list[int] | None) == [1, 2]
    with pytest.raises(UserError, match="it is of type list, an artifact of the format json, and not dict"):
        read_artifact(tmp_path / "value", dict[str, int])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (numpy.float64(1.5), 1.5),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(7), 7),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        ({"a": [numpy.int8(1)]}, {"a": [1]}),
        ({Colour.RED: 1}, {"red": 1}),
    ],
)
def test_subclasses_and_single_values_of_numpy_are_plain_json(value: object, plain: object) -> None:
    tree = as_json(value)
    assert tree == plain
    assert json.loads(json.dumps(tree)) == plain
    assert type(tree) is type(plain)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), "it is the float nan, which JSON has no word for"),
        ({"loss": [1.0, float("-inf")]}, r"at \['loss'\]\[1\] it holds the float -inf"),
        (numpy.float64("inf"), "it is the float inf"),
        ({"a": {1: 2}}, r"at \['a'\] it holds a dict with the key 1, which is not a text"),
        ({"a": {1, 2}}, r"at \['a'\] it holds a value of type set, which is not JSON; write it to a path"),
        (numpy.datetime64("2026-01-01"), r"it is a value of type datetime\.date, which is not JSON"),
        (numpy.longdouble(1), r"it is a value of type numpy\.longdouble, which is not JSON"),
        (2**64, "it is an integer of more than 64 bits; return it as a text"),
        ("\ud800", "it is a text that is not Unicode"),
        ({"\ud800": 1}, "it holds a text that is not Unicode"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: object, sentence: str) -> None:
    with pytest.raises(NotJSONError, match=sentence):
        as_json(value)


def test_what_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(NotJSONError, match="nested more than 100 levels deep, or holds itself"):
        as_json(circle)


def test_a_value_that_no_format_writes_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"writes the type set; .*Output\[Path\].*register_artifact.*Pickle\[\.\.\.\]"
    ):
        write_artifact({1}, tmp_path / "value")
    assert not (tmp_path / "value").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"file": "../secret"},
        {"file": "/etc/passwd"},
        {"file": "a\\b"},
        {"file": ".."},
        {"file": ""},
        {"file": DESCRIPTOR},
        {"file": "other.txt"},
        {"file": 1},
        {"more": "fields"},
    ],
)
def test_a_descriptor_that_is_not_right_in_every_field_is_refused(tmp_path: Path, change: Any) -> None:
    write_artifact("text", tmp_path / "value")
    document = json.loads((tmp_path / "value" / DESCRIPTOR).read_text())
    (tmp_path / "value" / DESCRIPTOR).write_text(json.dumps({**document, **change}))
    with pytest.raises(DocumentError):
        read_artifact(tmp_path / "value")


@pytest.mark.parametrize(("value", "file"), [("text", "data.txt"), ({}, "data.json"), ([1], "data.json")])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, value: object, file: str) -> None:
    write_artifact(value, tmp_path / "value")
    (tmp_path / "value" / file).write_bytes(b"\xff\xfe[")
    with pytest.raises(DocumentError, match=f"{file} is not (UTF-8|JSON)"):
        read_artifact(tmp_path / "value")


def test_a_pickle_takes_the_mark_on_both_sides(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"writes the type complex; .*Pickle"):
        write_artifact(1j, tmp_path / "value", complex)
    descriptor = write_artifact(1j, tmp_path / "value", Pickle[complex])
    assert (descriptor.format, descriptor.type) == ("pickle", "complex")
    for unmarked in (Any, complex, Input[complex], "complex"):
        with pytest.raises(
            UserError, match=r"it is a pickle of type complex, .*annotate the parameter as Pickle"
        ):
            read_artifact(tmp_path / "value", unmarked)
    for marked in (Pickle[complex], Input[Pickle[complex]], Pickle[complex] | None, Pickle):
        assert read_artifact(tmp_path / "value", marked) == 1j
    assert read_artifact(tmp_path / "value", Path).name == "data.pickle"  # a path reads nothing


def test_nothing_runs_when_a_pickle_is_refused(tmp_path: Path) -> None:
    write_artifact(1j, tmp_path / "value", Pickle[complex])
    trace = tmp_path / "trace"
    (tmp_path / "value" / "data.pickle").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(UserError):
        read_artifact(tmp_path / "value", Any)
    assert not trace.exists()
    read_artifact(tmp_path / "value", Pickle)
    assert trace.exists()


class Bomb:
    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._trace),)


def test_what_cannot_be_pickled_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it cannot be pickled: .*lambda"):
        write_artifact(lambda: 1, tmp_path / "value", Pickle)


def test_a_cut_pickle_is_a_sentence(tmp_path: Path) -> None:
    write_artifact([1j] * 9, tmp_path / "value", Pickle[list[complex]])
    path = tmp_path / "value" / "data.pickle"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DocumentError, match=r"data\.pickle is not a whole pickle"):
        read_artifact(tmp_path / "value", Pickle[list[complex]])


def test_a_pickle_of_a_class_that_is_not_here_is_a_sentence(tmp_path: Path) -> None:
    write_artifact(1j, tmp_path / "value", Pickle[complex])
    (tmp_path / "value" / "data.pickle").write_bytes(b"cno_such_module\nModel\n.")
    with pytest.raises(UserError, match="cannot be unpickled: No module named 'no_such_module'; what it is"):
        read_artifact(tmp_path / "value", Pickle[complex])


def test_formats_of_python_need_no_library() -> None:
    code = (
        "import sys, tempfile, pathlib; "
        "libraries = 'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'skops', 'safetensors', 'pydantic'; "
        "sys.modules.update(dict.fromkeys(libraries)); "  # None there makes an import fail
        "from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact; "
        "folder = pathlib.Path(tempfile.mkdtemp()) / 'value'; write_artifact({'a': [1]}, folder); "
        "print(read_artifact(folder, dict), [name for name in sys.modules if name.startswith('airflow.')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "{'a': [1]} []\n"
