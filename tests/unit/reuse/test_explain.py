from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.reuse.explain import ABSENT, Difference, differences, equal_parts
from airflow_mlpipe.reuse.phrases import full
from airflow_mlpipe.reuse.recipe import PARTS, Recipe

OLD, NEW = "1a2b" + 60 * "0", "9f8e" + 60 * "0"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats() | st.sampled_from(["", "-a", "a.b", "(set)"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "a.b", "digest"]), json_values, max_size=2)


def recipes() -> st.SearchStrategy[Recipe]:
    """Recipes that are alike in much, and of which the parts hold anything."""
    parts: dict[str, Any] = dict.fromkeys(("step", "inputs"), documents)
    distributions = st.fixed_dictionaries({"distributions": documents})
    files = st.fixed_dictionaries({"files": documents})
    return st.builds(
        Recipe,
        **parts,
        arguments=st.lists(st.sampled_from(["-a", "--b", "1", "-1", "(set)"]), max_size=4),
        code=files,
        environment=distributions,
    )


def sentences(old: Recipe, new: Recipe) -> list[str]:
    return [difference.sentence() for difference in differences(old, new)]


def between(part: str, old: Any, new: Any) -> list[str]:
    """The sentences on two recipes that differ in one part at most."""
    return sentences(
        dataclasses.replace(Recipe(step={}), **{part: old}),
        dataclasses.replace(Recipe(step={}), **{part: new}),
    )


@pytest.mark.parametrize(
    ("part", "old", "new", "expected"),
    [
        ("step", {"entry": "a.py"}, {"entry": "b.py"}, ["step's entry a.py -> b.py"]),
        (
            "code",
            {"files": {"train.py": f"python:{OLD}"}},
            {"files": {"train.py": f"python:{NEW}"}},
            ["train.py changed (1a2b... -> 9f8e...)"],
        ),
        ("code", {"files": {}}, {"files": {"new.py": f"python:{NEW}"}}, ["new.py added"]),
        ("code", {"files": {"old.csv": f"sha256:{OLD}"}}, {"files": {}}, ["old.csv removed"]),
        (
            "code",
            {"scope": "imports", "files": {}},
            {"scope": "directory", "files": {}},
            ["scope changed (imports -> directory)"],
        ),
        (
            "code",
            {"files": {"@function/train.py": f"python:{OLD}", "@bundle/common/words.py": f"python:{OLD}"}},
            {"files": {"@function/train.py": f"python:{NEW}", "@bundle/common/words.py": f"python:{NEW}"}},
            [
                "function train changed (1a2b... -> 9f8e...)",
                "common/words.py changed (1a2b... -> 9f8e...)",
            ],
        ),
        (
            "step",
            {"unrolls": False, "fields": []},
            {"unrolls": True, "fields": ["a"]},
            ["unrolling of what is returned False -> True", "returned fields [] -> ['a']"],
        ),
        ("parameters", {"C": 1}, {"C": 1.0}, ["parameter C 1 -> 1.0"]),
        ("parameters", {"C": [1]}, {"C": [True]}, ["parameter C [1] -> [True]"]),
        (
            "inputs",
            {"raw": {"digest": OLD, "mode": "mount"}},
            {"raw": {"digest": NEW, "mode": "mount"}},
            ["input raw changed (1a2b... -> 9f8e...)"],
        ),
        (
            "inputs",
            {"raw": {"digest": OLD, "mode": "mount"}},
            {"raw": {"digest": OLD, "mode": "download"}},
            ["input raw.mode changed (mount -> download)"],
        ),
        ("outputs", {}, {"model": {"kind": "path"}}, ["output model.kind added"]),
        (
            "environment",
            {"python": "3.11", "distributions": {"numpy": "2.1.0", "scipy": "1.0", "six": "1"}},
            {"python": "3.12", "distributions": {"numpy": "2.2.0", "six": "1", "torch": "2"}},
            [
                "python 3.11 -> 3.12",
                "package numpy 2.1.0 -> 2.2.0",
                "package scipy removed",
                "package torch added",
            ],
        ),
        ("environment_variables", {"SEED": "1"}, {"SEED": "2"}, ["environment variable SEED 1 -> 2"]),
        ("salt", {}, {"reuse_version": "2"}, ["reuse_version added"]),
    ],
)
def test_a_difference_in_any_part_is_said_in_a_few_words(
    part: str, old: Any, new: Any, expected: list[str]
) -> None:
    assert between(part, old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["--lr", "0.1"], ["--lr", "0.2"], ["argument --lr 0.1 -> 0.2"]),
        (["--lr", "0.1"], ["--lr", "-0.2"], ["argument --lr 0.1 -> -0.2"]),
        (["--lr", "-.5", "--n", "1"], ["--lr", "-1e-3", "--n", "1"], ["argument --lr -.5 -> -1e-3"]),
        (["--low", "-inf"], ["--low", "-1"], ["argument --low -inf -> -1"]),
        (["--in", "-"], ["--in", "x"], ["argument --in - -> x"]),
        (["--fast"], [], ["argument --fast removed"]),
        ([], ["--fast"], ["argument --fast added"]),
        (["--fast"], ["--fast", "--lr", "1"], ["argument --lr added"]),
        (["a", "b"], ["a", "c"], ["argument 2 b -> c"]),
        (["--x", "1", "--x", "2"], ["--x", "1", "--x", "3"], ["argument --x (2) 2 -> 3"]),
        (["--x", "1", "--x", "2"], ["--x", "1"], ["argument --x (2) removed"]),
        (
            ["--a", "1", "--b", "2"],
            ["--b", "2", "--a", "1"],
            ["argument order ['--a', '1', '--b', '2'] -> ['--b', '2', '--a', '1']"],
        ),
        (
            ["--d", {"input": "raw"}],
            ["--d", {"input": "clean"}],
            ["argument --d {'input': 'raw'} -> {'input': 'clean'}"],
        ),
    ],
)
def test_an_argument_is_told_by_its_flag_or_its_position(
    old: list[Any], new: list[Any], expected: list[str]
) -> None:
    assert between("arguments", old, new) == expected


def value(of: Any) -> dict[str, Any]:
    return {"value": of}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (value(0.1), value(0.2), ["parameter p 0.1 -> 0.2"]),
        (value(1), value(1.0), ["parameter p 1 -> 1.0"]),
        (value(None), value("None"), ["parameter p None -> 'None'"]),
        (value([1, 2]), value([1, 3]), ["parameter p [1, 2] -> [1, 3]"]),
        (
            value({"depth": 3, "net": {"layers": [8]}}),
            value({"depth": 4, "net": {"layers": [8]}}),
            ["parameter p.depth 3 -> 4"],
        ),
        (value({"a": {}}), value({"a": {"b": 1}}), ["parameter p.a removed", "parameter p.a.b added"]),
        (value(3), {"input": "p"}, ["parameter p 3 -> input p"]),
        (
            {"dict": {"a": value(1), "b": {"input": "p_b"}}},
            value({"a": 2, "b": 3}),
            [
                "parameter p.a 1 -> 2",
                "parameter p.b input p_b -> 3",
            ],
        ),
        (
            {"list": [{"input": "p_0"}, value(1)]},
            {"list": [{"missing": True}, value(1)]},
            [
                "parameter p[0] input p_0 -> a missing result",
            ],
        ),
        (value({"input": "p"}), {"input": "p"}, ["parameter p.input removed", "parameter p added"]),
    ],
)
def test_a_parameter_is_told_by_the_place_in_it_that_differs(old: Any, new: Any, expected: list[str]) -> None:
    assert between("parameters", {"p": old}, {"p": new}) == expected


trees = st.recursive(
    json_values.map(value) | st.sampled_from([{"input": "a"}, {"input": "b"}, {"missing": True}, {}, 1]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: {"list": items})
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(lambda items: {"dict": items})
    ),
    max_leaves=4,
)


@settings(max_examples=200)
@given(
    *[st.dictionaries(st.sampled_from("pq"), trees, max_size=2)] * 2,
    *[st.dictionaries(st.sampled_from("ab"), st.sampled_from([OLD, NEW]))] * 2,
)
def test_whatever_the_parameters_and_inputs_are_a_difference_is_told(
    old: Any, new: Any, old_inputs: Any, new_inputs: Any
) -> None:
    before = Recipe(step={}, parameters=old, inputs=old_inputs)
    after = Recipe(step={}, parameters=new, inputs=new_inputs)
    assert bool(differences(before, after)) == (before.fingerprint() != after.fingerprint())
    assert differences(before, before) == ()


def collecting(*digests: str) -> Recipe:
    """A recipe of a step that reads a list of inputs."""
    names = [f"scores_{position}" for position in range(len(digests))]
    return Recipe(
        step={},
        parameters={"scores": {"list": [{"input": name} for name in names]}},
        inputs={name: {"digest": content} for name, content in zip(names, digests, strict=True)},
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("abc", "zabc", ["input scores_0 added"]),
        ("abc", "abzc", ["input scores_2 added"]),
        ("abc", "bc", ["input scores_0 removed"]),
        ("abc", "azc", ["input scores_1 changed (b -> z)"]),
        ("abc", "zxc", ["input scores_0 changed (a -> z)", "input scores_1 changed (b -> x)"]),
        ("abcd", "zbcdx", ["input scores_0 changed (a -> z)", "input scores_4 added"]),
        ("abc", "cab", ["input scores order changed ([0, 1, 2] -> [2, 0, 1])"]),
        ("a", "aa", ["input scores_1 added"]),
    ],
)
def test_of_a_list_of_inputs_those_are_told_that_came_went_or_changed_and_none_that_moved(
    old: str, new: str, expected: list[str]
) -> None:
    assert sentences(collecting(*old), collecting(*new)) == expected


def test_an_input_that_took_the_place_of_a_value_is_told_as_both() -> None:
    old = Recipe(step={}, parameters={"model": value("base")})
    new = Recipe(step={}, parameters={"model": {"input": "model"}}, inputs={"model": {"digest": NEW}})
    assert sentences(old, new) == ["parameter model base -> input model", "input model added"]


@settings(max_examples=100)
@given(recipes(), recipes())
def test_the_parts_named_are_exactly_those_whose_digests_differ(old: Recipe, new: Recipe) -> None:
    # A difference of digests without a sentence would read as "nothing changed".
    before, after = old.part_digests(), new.part_digests()
    named = {difference.part for difference in differences(old, new)}
    assert named == {part for part in PARTS if before[part] != after[part]}


@settings(max_examples=100)
@given(recipes(), recipes())
def test_each_part_is_either_equal_or_has_a_difference(old: Recipe, new: Recipe) -> None:
    changed = {difference.part for difference in differences(old, new)}
    assert equal_parts(old, new) == tuple(part for part in PARTS if part not in changed)


@pytest.mark.parametrize(
    ("old", "new", "change"), [(ABSENT, None, "added"), (None, ABSENT, "removed"), (None, 0, "changed")]
)
def test_in_json_the_change_tells_what_is_absent_from_what_is_null(old: Any, new: Any, change: str) -> None:
    document = Difference("parameters", "C", old, new).as_document()
    assert (document["change"], document["old"]) == (change, None)
    assert document["new"] == (0 if change == "changed" else None)


def test_a_sentence_cuts_long_values_unless_it_is_told_not_to() -> None:
    difference = Difference("arguments", "--query", "a" * 70, OLD)
    assert difference.sentence() == f"argument --query {'a' * 57}... -> 1a2b..."
    assert difference.sentence(full) == f"argument --query {'a' * 70} -> 1a2b..."


def test_a_difference_is_data() -> None:
    old, new = Recipe(step={}, arguments=["--lr", "0.1"]), Recipe(step={}, arguments=["--lr", "0.2", "--x"])
    assert differences(old, new) == (
        Difference("arguments", "--lr", "0.1", "0.2"),
        Difference("arguments", "--x", ABSENT, "(set)"),
    )


def test_differences_come_in_the_order_of_the_recipe() -> None:
    old = Recipe(step={}, code={"files": {"a.py": OLD}}, arguments=["1"], salt={"x": "1"})
    new = Recipe(step={}, code={"files": {"a.py": NEW}}, arguments=["2"], salt={"x": "2"})
    assert [difference.part for difference in differences(old, new)] == ["code", "arguments", "salt"]
