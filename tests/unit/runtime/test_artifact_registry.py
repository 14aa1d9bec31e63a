"""Which format writes a value, and which one reads an artifact."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.runtime.artifacts import registry
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact
from airflow_mlpipe.runtime.artifacts.registry import (
    ArtifactFormat,
    dotted_name,
    format_for,
    format_named,
    register_artifact,
)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Vector(Point):
    pass


class Points(ArtifactFormat):
    name = "point"
    file = "point.txt"
    types = (Point,)
    reads = (str,)

    def write(self, value: Point, path: Path) -> None:
        path.write_text(str(value.x))

    def read(self, path: Path, wanted: str) -> Any:
        return path.read_text() if wanted == "str" else Point(int(path.read_text()))


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def name_of(value: object) -> str:
    format = format_for(value)
    return "none" if format is None else format.name


def test_types_of_python_have_their_formats() -> None:
    values = [{}, [], (), 1, 1.5, True, None, "text", b"bytes", bytearray(), OrderedDict()]
    assert [name_of(value) for value in values] == [*["json"] * 7, "text", "bytes", "bytes", "json"]


def test_a_type_that_nobody_writes_has_none() -> None:
    assert name_of({1, 2}) == "none"
    assert name_of(Point(1)) == "none"


def test_a_registered_format_writes_its_types_and_their_subclasses() -> None:
    register_artifact(Points)
    assert name_of(Point(1)) == "point"
    assert name_of(Vector(1)) == "point"


def test_registering_returns_what_was_registered() -> None:
    points = Points()
    assert register_artifact(Points) is Points
    assert register_artifact(points) is points
    assert format_named("point") is points


def test_the_format_of_a_nearer_base_wins() -> None:
    class Vectors(Points):
        name = "vector"
        types = (Vector,)

    register_artifact(Vectors)
    register_artifact(Points)
    assert (name_of(Vector(1)), name_of(Point(1))) == ("vector", "point")


def test_of_two_formats_of_a_type_the_one_registered_last_wins() -> None:
    class Other(Points):
        name = "other"

    register_artifact(Points)
    register_artifact(Other)
    assert name_of(Point(1)) == "other"
    register_artifact(Points)
    assert name_of(Point(1)) == "point"


def test_a_registered_format_wins_over_the_built_in_one_of_its_type_or_name() -> None:
    class Texts(Points):
        name = "upper"
        types = (str,)

    class Bytes(Points):
        name = "bytes"
        types = (bytes,)

    register_artifact(Texts)
    register_artifact(Bytes)
    assert name_of("text") == "upper"
    assert isinstance(format_named("bytes"), Bytes)


def test_a_format_that_does_not_accept_a_value_leaves_it_to_the_next() -> None:
    class Positive(Points):
        name = "positive"

        def accepts(self, value: Point) -> bool:
            return value.x > 0

    register_artifact(Points)
    register_artifact(Positive)
    assert (name_of(Point(1)), name_of(Point(-1))) == ("positive", "point")


def test_types_may_be_dotted_names_so_that_nothing_is_imported() -> None:
    class Named(Points):
        types = (dotted_name(Point),)

    register_artifact(Named)
    assert name_of(Vector(1)) == "point"


def test_an_unknown_format_is_a_sentence() -> None:
    with pytest.raises(UserError, match="format 'point', which is not known here; register it with"):
        format_named("point")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"name": ""}, "the name of the artifact format Points is ''"),
        ({"name": None}, "the name of the artifact format Points is None"),
        ({"file": "../point"}, "the file of the artifact format Points is '../point'"),
        ({"file": ".mlpipe-artifact.json"}, r"the file of the artifact format Points is '\.mlpipe"),
        ({"types": ()}, r"the types of the artifact format Points are \(\); name at least one"),
        ({"types": Point}, "the types of the artifact format Points are <class"),
    ],
)
def test_a_format_that_cannot_be_used_is_refused(attributes: dict[str, Any], sentence: str) -> None:
    kind = type("Points", (Points,), attributes)
    with pytest.raises(DefinitionError, match=sentence):
        register_artifact(kind)


def test_an_artifact_is_read_as_what_is_asked_for(tmp_path: Path) -> None:
    register_artifact(Points)
    descriptor = write_artifact(Vector(7), tmp_path / "point")
    assert descriptor.type == dotted_name(Point)
    assert read_artifact(tmp_path / "point").x == 7
    assert read_artifact(tmp_path / "point", str) == "7"
    assert read_artifact(tmp_path / "point", str | Point).x == 7  # what was written is preferred
    assert read_artifact(tmp_path / "point", int | str) == "7"
    assert read_artifact(tmp_path / "point", Path).read_text() == "7"


def test_a_value_that_is_not_what_is_asked_for_is_refused(tmp_path: Path) -> None:
    register_artifact(Points)
    write_artifact(Point(7), tmp_path / "point")
    with pytest.raises(
        UserError, match=r"it is of type \S*Point, an artifact of the format point, and not \S*Vector;"
    ):
        read_artifact(tmp_path / "point", Vector)


def test_a_format_that_writes_nothing_is_found_out(tmp_path: Path) -> None:
    class Idle(Points):
        def write(self, value: Point, path: Path) -> None:
            pass

    register_artifact(Idle)
    with pytest.raises(UserError, match=r"the artifact format point did not write point\.txt"):
        write_artifact(Point(1), tmp_path / "point")


def test_a_missing_library_is_a_sentence_with_the_ways_to_get_it() -> None:
    with pytest.raises(UserError) as caught:
        Points().library("no_such_library.core", extra="points")
    assert str(caught.value) == (
        "the artifact format point needs no_such_library, which cannot be imported here "
        "(No module named 'no_such_library'); add it to the step's Environment "
        "(pip_packages=['no_such_library']) or install airflow-mlpipe[points]"
    )


def test_finding_a_format_imports_no_library() -> None:
    code = (
        "import sys; from airflow_mlpipe.runtime.artifacts.registry import format_for; format_for({}); "
        "libraries = 'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'torch', 'matplotlib', 'airflow'; "
        "print([name for name in libraries if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
