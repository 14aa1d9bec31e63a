from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.reuse.canonical import digest
from airflow_mlpipe.reuse.recipe import PARTS, Recipe

TRAIN = Recipe(
    step={"kind": "python_script", "contract": 1, "entry": "train.py"},
    code={"scope": "imports", "files": {"train.py": "python:" + 64 * "1"}},
    arguments=["--data", {"input": "prepared"}, "--lr", "0.1", "--model", {"output": "model"}],
    parameters={"lr": 0.1},
    inputs={"prepared": {"digest": 64 * "a", "kind": "directory", "mode": "mount"}},
    outputs={"model": {"kind": "path"}},
    environment={"python": "3.11", "distributions": {"numpy": "2.2.0"}},
    environment_variables={"SEED": "1"},
    salt={"reuse_version": "2"},
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=3,
)
documents = st.dictionaries(st.text(max_size=4), json_values, max_size=2)


def recipes() -> st.SearchStrategy[Recipe]:
    parts: dict[str, Any] = dict.fromkeys(PARTS, documents)
    return st.builds(Recipe, **{**parts, "arguments": st.lists(json_values, max_size=4)})


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_the_parts_of_a_recipe_are_these() -> None:
    assert PARTS == (
        "step",
        "code",
        "arguments",
        "parameters",
        "inputs",
        "outputs",
        "environment",
        "environment_variables",
        "salt",
    )


@pytest.mark.parametrize(
    ("recipe", "fingerprint"),
    [
        (Recipe(step={}), "1d8244b88852cc6497c009b2882b301bf50280448a5e3f06a3fa7bc36e3dda89"),
        (TRAIN, "234b5d126c945391aa6de34aca810775d67c6aa87cc9641d80dfa145202cf8d6"),
    ],
)
def test_the_fingerprint_of_a_recipe_never_changes(recipe: Recipe, fingerprint: str) -> None:
    assert recipe.fingerprint() == fingerprint


@settings(max_examples=40)
@given(recipes(), recipes())
def test_two_recipes_share_a_fingerprint_only_when_every_part_is_the_same(one: Recipe, other: Recipe) -> None:
    same = all(digest(getattr(one, part)) == digest(getattr(other, part)) for part in PARTS)
    assert (one.fingerprint() == other.fingerprint()) == same


@settings(max_examples=40)
@given(recipes(), st.sampled_from(PARTS), json_values)
def test_a_change_anywhere_in_a_part_changes_that_part_and_the_fingerprint(
    recipe: Recipe, part: str, value: Any
) -> None:
    old = getattr(recipe, part)
    new = [*old, value] if isinstance(old, list) else {**old, "added to the part": value}
    changed = dataclasses.replace(recipe, **{part: new})
    assert changed.fingerprint() != recipe.fingerprint()
    before, after = recipe.part_digests(), changed.part_digests()
    assert [name for name in PARTS if before[name] != after[name]] == [part]


def test_the_same_value_in_another_part_is_another_recipe() -> None:
    parts = [part for part in PARTS if part not in ("step", "arguments")]
    recipes = [Recipe(step={}, **{part: {"a": "1"}}) for part in parts]
    assert len({recipe.fingerprint() for recipe in recipes}) == len(parts)


@settings(max_examples=40)
@given(recipes())
def test_the_order_of_keys_does_not_matter(recipe: Recipe) -> None:
    turned = Recipe(**{part: shuffled(getattr(recipe, part)) for part in PARTS})
    assert turned.fingerprint() == recipe.fingerprint()


@settings(max_examples=40)
@given(recipes())
def test_a_recipe_survives_its_json(recipe: Recipe) -> None:
    read = Recipe.from_document(json.loads(json.dumps(recipe.as_document())))
    assert read == recipe
    assert read.fingerprint() == recipe.fingerprint()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 2}, "this is not a recipe of a known schema version"),
        ({"schema_version": None}, "this is not a recipe of a known schema version"),
        ({"colour": {}}, "the recipe has missing or unknown parts: colour"),
        ({"arguments": {}}, "part 'arguments' of the recipe is dict"),
        ({"inputs": []}, "part 'inputs' of the recipe is list"),
    ],
)
def test_any_other_document_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        Recipe.from_document({**TRAIN.as_document(), **change})


def test_a_document_without_a_part_is_refused() -> None:
    document = TRAIN.as_document()
    del document["salt"]
    with pytest.raises(DocumentError, match="missing or unknown parts: salt"):
        Recipe.from_document(document)


@pytest.mark.parametrize("document", [None, [], "recipe", 1])
def test_what_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(DocumentError):
        Recipe.from_document(document)
