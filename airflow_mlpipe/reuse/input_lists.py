"""Lists of inputs, compared as sequences: one that is put in front moves the others, and changes none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from airflow_mlpipe.reuse.canonical import encode
from airflow_mlpipe.reuse.recipe import Recipe


@dataclass(frozen=True)
class InputLists:
    """A parameter that is a list of inputs in two recipes, and which input of one is which of the other.

    ``pairs`` are names in the old and the new recipe, whether their contents are equal or not; ``removed``
    are names in the old recipe, ``added`` in the new one. ``order`` has the old positions in the new order
    when nothing but the order differs, else it is None.
    """

    parameter: str
    pairs: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    order: tuple[int, ...] | None = None


def lists_of_inputs(old: Recipe, new: Recipe) -> Iterator[InputLists]:
    """The parameters that are lists of nothing but inputs in both recipes."""
    # Nobody's recipe has one input in two lists, but what is read may hold anything.
    seen: tuple[set[str], set[str]] = set(), set()
    for parameter, tree in old.parameters.items():
        before, after = _names(tree, old), _names(new.parameters.get(parameter), new)
        if before and after and seen[0].isdisjoint(before) and seen[1].isdisjoint(after):
            seen[0].update(before)
            seen[1].update(after)
            yield _matched(parameter, before, after)


def _names(tree: Any, recipe: Recipe) -> dict[str, bytes]:
    """The inputs in a tree by name, each as it counts; none if it is anything but a list of them."""
    items = tree["list"] if isinstance(tree, dict) and isinstance(tree.get("list"), list) else []
    names = [str(item.get("input")) if isinstance(item, dict) else "" for item in items]
    if any(name not in recipe.inputs for name in names):
        return {}
    return {name: encode(recipe.inputs[name]) for name in names}


def _matched(parameter: str, before: dict[str, bytes], after: dict[str, bytes]) -> InputLists:
    old, new = list(before), list(after)
    contents = list(before.values()), list(after.values())
    if contents[0] != contents[1] and sorted(contents[0]) == sorted(contents[1]):
        positions = {content: position for position, content in enumerate(contents[0])}
        order = tuple(positions[content] for content in contents[1])
        moved = zip(sorted(old, key=before.__getitem__), sorted(new, key=after.__getitem__), strict=True)
        return InputLists(parameter, tuple(moved), (), (), order)
    pairs: list[tuple[str, str]] = []
    removed: list[str] = []
    added: list[str] = []
    for _, start, end, new_start, new_end in SequenceMatcher(None, *contents, autojunk=False).get_opcodes():
        gone, come = old[start:end], new[new_start:new_end]
        pairs += zip(gone, come, strict=False)
        removed += gone[len(come) :]
        added += come[len(gone) :]
    return InputLists(parameter, tuple(pairs), tuple(removed), tuple(added))
