"""What a function gets for each kind of tree, as its annotation asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import CallSpec, InputSpec
from airflow_mlpipe.runtime.annotations import Input, Pickle
from airflow_mlpipe.runtime.artifacts.artifact import write_artifact
from airflow_mlpipe.runtime.call_arguments import arguments_of
from airflow_mlpipe.runtime.tabular import TabularDataset

Give = Callable[..., Any]


@pytest.fixture
def give(attempt: Any, tmp_path: Path) -> Give:
    """Gives a function a tree for its parameter ``x``, annotated *hint*."""
    write_artifact(b"weights", tmp_path / "typed")
    write_artifact([[1, 2], [3, 4]], tmp_path / "pairs")
    write_artifact(1j, tmp_path / "pickled", Pickle[complex])
    (tmp_path / "file.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "folder").mkdir()
    files = {name: tmp_path / name for name in ("typed", "pairs", "pickled", "folder")}
    inputs = {
        **{name: InputSpec("file", [str(path)]) for name, path in files.items()},
        "file": InputSpec("file", [str(tmp_path / "file.csv")]),
        "url": InputSpec("file", ["s3://bucket/file.csv"]),
        "table": InputSpec("tabular", [str(tmp_path / "file.csv")], {"format": "delimited"}),
    }

    def give(tree: Any, hint: Any = None) -> Any:
        def score(x: Any) -> None: ...

        score.__annotations__ = {} if hint is None else {"x": hint}
        call = CallSpec("@function.score", "score", str(tmp_path), parameters={"x": tree})
        return arguments_of(score, call, attempt.spec(inputs=inputs, call=call))["x"]

    return give


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ([1, 2], None, [1, 2]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 2], tuple[int, int] | None, (1, 2)),
        ([1, 2], list[int] | tuple[int, int], [1, 2]),
        ([[1], [2]], list[tuple[int, ...]], [(1,), (2,)]),
        ({"a": [1]}, dict[str, tuple[int, ...]], {"a": (1,)}),
        ("a/b", Path, Path("a/b")),
        ("a/b", str | Path, "a/b"),
        (None, Path | None, None),
        (1.5, float, 1.5),
    ],
)
def test_a_value_is_shaped_as_annotated(give: Give, value: object, hint: Any, expected: object) -> None:
    given = give({"value": value}, hint)
    assert given == expected
    assert type(given) is type(expected)


def test_a_path_of_data_is_given_as_it_is(give: Give, tmp_path: Path) -> None:
    for hint in (None, Any, Path, Input[Path], Path | None, str | Path, object, "Missing"):
        assert give({"input": "file"}, hint) == tmp_path / "file.csv"
        assert give({"input": "folder"}, hint) == tmp_path / "folder"


def test_data_without_a_type_is_nothing_but_a_path(give: Give) -> None:
    with pytest.raises(UserError) as caught:
        give({"input": "file"}, pandas.DataFrame)
    assert str(caught.value).startswith(
        "score cannot be given its parameter 'x': it is a file without a recorded"
    )
    assert str(caught.value).endswith("DataFrame; annotate it as Path")
    with pytest.raises(UserError, match="it is a folder without a recorded type, not of type str or int;"):
        give({"input": "folder"}, str | int)


def test_an_artifact_is_a_value_or_the_path_of_its_file(give: Give, tmp_path: Path) -> None:
    for hint in (None, Any, bytes, Input[bytes], bytes | None):
        assert give({"input": "typed"}, hint) == b"weights"
    assert give({"input": "typed"}, Path) == tmp_path / "typed" / "data.bin"
    assert give({"input": "pairs"}, list[tuple[int, int]]) == [(1, 2), (3, 4)]


def test_a_pickle_is_read_where_it_is_marked(give: Give) -> None:
    assert give({"input": "pickled"}, Pickle[complex]) == 1j
    assert give({"list": [{"input": "pickled"}]}, list[Pickle[complex]]) == [1j]
    assert give({"dict": {"a": {"input": "pickled"}}}, dict[str, Pickle[complex]]) == {"a": 1j}
    with pytest.raises(UserError, match=r"'x': it is a pickle of type complex.* as Pickle\[\.\.\.\]"):
        give({"input": "pickled"}, complex)


def test_lists_and_dicts_of_inputs_pass_the_annotation_of_their_items_down(
    give: Give, tmp_path: Path
) -> None:
    trees = {"list": [{"input": "typed"}, {"missing": True}, {"value": 3}]}
    assert give(trees) == [b"weights", None, 3]
    assert give(trees, tuple[bytes | None, ...]) == (b"weights", None, 3)
    assert give(trees, list[Path])[:2] == [tmp_path / "typed" / "data.bin", None]
    assert give({"dict": {"a": trees, "b": {"input": "file"}}}, dict[str, Any]) == {
        "a": [b"weights", None, 3],
        "b": tmp_path / "file.csv",
    }


def test_a_missing_instance_is_none(give: Give) -> None:
    assert give({"missing": True}, bytes) is None


def test_a_url_is_a_text(give: Give) -> None:
    assert give({"input": "url"}) == give({"input": "url"}, str) == "s3://bucket/file.csv"
    with pytest.raises(UserError, match=r"read directly from s3://bucket/file[.]csv; annotate it as str"):
        give({"input": "url"}, Path)


def test_a_tabular_input_is_a_dataset_or_a_table_of_a_library(give: Give) -> None:
    polars = pytest.importorskip("polars")
    for hint in (None, Any, TabularDataset, Input[TabularDataset]):
        assert isinstance(give({"input": "table"}, hint), TabularDataset)
    for kind in (pandas.DataFrame, polars.DataFrame, pyarrow.Table):
        table = give({"input": "table"}, kind | None if kind is not pyarrow.Table else kind)
        assert type(table) is kind
        assert list(table["a"]) in ([1, 2], [pyarrow.scalar(1), pyarrow.scalar(2)])
    with pytest.raises(
        UserError, match=r"'x': it is a tabular dataset, not of type pathlib\.\S*Path; annotate"
    ):
        give({"input": "table"}, Path)


@pytest.mark.parametrize("tree", [{"other": 1}, {"input": "unknown"}, {}, {"missing": False}, {"list": 1}])
def test_a_tree_of_no_known_kind_is_refused(give: Give, tree: Any) -> None:
    with pytest.raises(
        UserError, match=r"'x': the launch spec describes it as \{.*\}, which is nothing that"
    ):
        give(tree)


def test_annotations_of_a_decorated_function_are_evaluated_where_it_was_written(
    attempt: Any, tmp_path: Path
) -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def inner(**values: Any) -> Any:
            return function(**values)

        return inner

    features: dict[str, Any] = {"logged": logged, "Pair": tuple[int, int]}
    exec("@logged\ndef score(x: 'Pair'): ...", features)
    call = CallSpec("@function.score", "score", str(tmp_path), parameters={"x": {"value": [1, 2]}})
    assert arguments_of(features["score"], call, attempt.spec(call=call)) == {"x": (1, 2)}
