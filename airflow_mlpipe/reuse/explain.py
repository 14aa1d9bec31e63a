"""What differs between two recipes, as data and as sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from airflow_mlpipe.reuse.canonical import encode
from airflow_mlpipe.reuse.code_tree import BUNDLE, FUNCTION
from airflow_mlpipe.reuse.input_lists import lists_of_inputs
from airflow_mlpipe.reuse.phrases import short
from airflow_mlpipe.reuse.recipe import PARTS, Recipe


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()

Change = Literal["added", "removed", "changed"]

# A dash, and then neither a number nor nothing: "-" is a file name by custom.
_FLAG = re.compile(r"-(?!\.?\d)(?!inf$|nan$).+", re.DOTALL)
_ORDER, _WHOLE = "order", "structure"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same: which part of the recipe, what in it, its old and new value.

    ``old`` is ABSENT for something added, ``new`` for something removed.
    """

    part: str
    subject: str
    old: Any
    new: Any

    @property
    def change(self) -> Change:
        """What happened to the subject."""
        if self.old is ABSENT:
            return "added"
        return "removed" if self.new is ABSENT else "changed"

    def as_document(self) -> dict[str, Any]:
        """The difference as JSON; a value that is absent is null, and ``change`` tells it from a null."""
        return {
            "part": self.part,
            "subject": self.subject,
            "change": self.change,
            "old": None if self.old is ABSENT else self.old,
            "new": None if self.new is ABSENT else self.new,
        }

    @property
    def noun(self) -> str:
        """What differs, such as ``argument --lr``."""
        if self.part == "code":
            return _code_noun(self.subject)
        return _SUBJECTS.get((self.part, self.subject), f"{_NOUNS[self.part]} {self.subject}".strip())

    def sentence(self, say: Callable[[Any], str] = short) -> str:
        """The difference in a few words, such as ``argument --lr 0.1 -> 0.2``; *say* words the values."""
        if self.change != "changed":
            return f"{self.noun} {self.change}"
        old, new = (_as_said(self.part, value, say) for value in (self.old, self.new))
        if old == new and type(self.old) is not type(self.new):
            old, new = say(repr(self.old)), say(repr(self.new))
        if self.part in ("code", "inputs"):
            return f"{self.noun} changed ({old} -> {new})"
        return f"{self.noun} {old} -> {new}"


def differences(old: Recipe, new: Recipe) -> tuple[Difference, ...]:
    """All that differs, part by part in the order of the recipe; empty when the recipes are equal."""
    before, after = old.part_digests(), new.part_digests()
    differing = [part for part in PARTS if before[part] != after[part]]
    return tuple(
        difference
        for part in differing
        for difference in _between(part, old, new)
        if "inputs" not in differing or not _is_told_by_inputs(difference)
    )


def equal_parts(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """The parts that are the same, in the order of the recipe."""
    before, after = old.part_digests(), new.part_digests()
    return tuple(part for part in PARTS if before[part] == after[part])


def parameters_in_words(parameters: dict[str, Any]) -> Iterator[str]:
    """The parameters of a recipe, each with its value, such as ``config.depth 3``."""
    for subject, leaf in _flat_parameters(parameters).items():
        yield f"{subject} {_as_said('parameters', leaf, short)}"


def _between(part: str, old: Recipe, new: Recipe) -> Iterator[Difference]:
    """What differs in one part, which does differ."""
    if part == "inputs" and (found := list(_in_inputs(old, new))):
        yield from found
    else:
        yield from _in_part(part, getattr(old, part), getattr(new, part))


def _in_inputs(old: Recipe, new: Recipe) -> Iterator[Difference]:
    """What differs in the inputs, those in lists compared with those whose place they have."""
    before, after = dict(old.inputs), dict(new.inputs)
    for lists in lists_of_inputs(old, new):
        for name, now in lists.pairs:
            yield from _in_pair(now, before.pop(name), after.pop(now))
        for name in lists.removed:
            yield Difference("inputs", name, _digest(before.pop(name)), ABSENT)
        for name in lists.added:
            yield Difference("inputs", name, ABSENT, _digest(after.pop(name)))
        if lists.order is not None:
            yield Difference("inputs", f"{lists.parameter} order", sorted(lists.order), list(lists.order))
    for name in [name for name in before if name not in after]:
        yield Difference("inputs", name, _digest(before.pop(name)), ABSENT)
    for name in [name for name in after if name not in before]:
        yield Difference("inputs", name, ABSENT, _digest(after.pop(name)))
    yield from _in_pair(None, before, after)


def _in_pair(name: str | None, old: Any, new: Any) -> Iterator[Difference]:
    """What differs between two inputs called *name*, or between all inputs of two recipes."""
    if not _same(old, new):
        before, after = (old, new) if name is None else ({name: old}, {name: new})
        yield from _in_part("inputs", before, after)


def _digest(document: Any) -> Any:
    return document.get("digest") if isinstance(document, dict) else document


def _is_told_by_inputs(difference: Difference) -> bool:
    """Whether it says no more than that an input came or went, which the part "inputs" says of it."""
    there = [value for value in (difference.old, difference.new) if value is not ABSENT]
    return difference.part == "parameters" and len(there) == 1 and _is_input(there[0])


def _in_part(part: str, old: Any, new: Any) -> Iterator[Difference]:
    flatten: Callable[[Any], dict[str, Any]] = _FLATTEN.get(part, _flat)
    before, after = flatten(old), flatten(new)
    found = False
    for subject in [*before, *(subject for subject in after if subject not in before)]:
        was, is_now = before.get(subject, ABSENT), after.get(subject, ABSENT)
        if not _same(was, is_now):
            found = True
            yield Difference(part, subject, was, is_now)
    if not found:
        # Every subject is as it was, so what differs is how they stand together.
        yield Difference(part, _ORDER if part == "arguments" else _WHOLE, old, new)


def _same(old: Any, new: Any) -> bool:
    """Whether two values are the same to a fingerprint: 1 is not 1.0, nor True, nor inside a list."""
    if old is ABSENT or new is ABSENT:
        return old is new
    return encode(old) == encode(new)


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings by dotted subject."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            flat.update({f"{key}.{inner}": leaf for inner, leaf in _flat(value).items()})
        else:
            flat[key] = value
    return flat


def _flat_parameters(document: dict[str, Any]) -> dict[str, Any]:
    return {subject: leaf for name, tree in document.items() for subject, leaf in _leaves(name, tree)}


def _leaves(subject: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a tree: values, and what stands for an input or for a result that is missing."""
    ((kind, inner),) = tree.items() if isinstance(tree, dict) and len(tree) == 1 else [("", None)]
    if kind == "dict" and isinstance(inner, dict) and inner:
        for key, item in inner.items():
            yield from _leaves(f"{subject}.{key}", item)
    elif kind == "list" and isinstance(inner, list) and inner:
        for position, item in enumerate(inner):
            yield from _leaves(f"{subject}[{position}]", item)
    elif kind == "value" and isinstance(inner, dict) and inner:
        for key, item in inner.items():
            yield from _leaves(f"{subject}.{key}", {"value": item})
    else:
        yield subject, inner if kind == "value" else tree


def _flat_code(document: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in document.items() if key != "files"}
    return {**flat, **document.get("files", {})}


def _flat_inputs(document: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in document.items():
        for key, value in item.items() if isinstance(item, dict) else [("digest", item)]:
            flat[name if key == "digest" else f"{name}.{key}"] = value
    return flat


def _flat_environment(document: dict[str, Any]) -> dict[str, Any]:
    distributions = document.get("distributions", {})
    flat = {key: value for key, value in document.items() if key != "distributions"}
    return {**flat, **{f"package {name}": version for name, version in distributions.items()}}


def _flat_arguments(arguments: list[Any]) -> dict[str, Any]:
    """Arguments by the flag before them, else by position; a repeated flag is numbered."""
    flat: dict[str, Any] = {}
    position, index = 0, 0
    while index < len(arguments):
        item = arguments[index]
        following = arguments[index + 1] if index + 1 < len(arguments) else None
        if _is_flag(item) and following is not None and not _is_flag(following):
            subject, value, index = item, following, index + 2
        elif _is_flag(item):
            subject, value, index = item, "(set)", index + 1
        else:
            position += 1
            subject, value, index = f"{position}", item, index + 1
        repeat = sum(1 for known in flat if known == subject or known.startswith(f"{subject} ("))
        flat[f"{subject} ({repeat + 1})" if repeat else subject] = value
    return flat


def _is_flag(item: Any) -> bool:
    return isinstance(item, str) and _FLAG.fullmatch(item) is not None


_FLATTEN: dict[str, Callable[[Any], dict[str, Any]]] = {
    "code": _flat_code,
    "parameters": _flat_parameters,
    "inputs": _flat_inputs,
    "environment": _flat_environment,
    "arguments": _flat_arguments,
}


def _as_said(part: str, value: Any, say: Callable[[Any], str]) -> str:
    if part == "parameters" and _is_input(value):
        return f"input {value['input']}"
    if part == "parameters" and value == _MISSING:
        return "a missing result"
    return say(value)


def _is_input(leaf: Any) -> bool:
    return isinstance(leaf, dict) and leaf.keys() == {"input"}


def _code_noun(subject: str) -> str:
    """A file as people know it: a function by its name, what came along from the bundle by its path there."""
    if subject.startswith(FUNCTION):
        return f"function {subject.removeprefix(FUNCTION).removesuffix('.py')}"
    return subject.removeprefix(BUNDLE)


_MISSING = {"missing": True}

_SUBJECTS = {("step", "fields"): "returned fields", ("step", "unrolls"): "unrolling of what is returned"}

_NOUNS = {
    "step": "step's",
    "code": "",
    "arguments": "argument",
    "parameters": "parameter",
    "inputs": "input",
    "outputs": "output",
    "environment": "",
    "environment_variables": "environment variable",
    "salt": "",
}
