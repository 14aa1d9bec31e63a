"""What differs between two recipes, as data and as sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from airflow_mlpipe.reuse.canonical import encode
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
        return f"{_NOUNS[self.part]} {self.subject}".strip()

    def sentence(self, say: Callable[[Any], str] = short) -> str:
        """The difference in a few words, such as ``argument --lr 0.1 -> 0.2``; *say* words the values."""
        if self.change != "changed":
            return f"{self.noun} {self.change}"
        if self.part in ("code", "inputs"):
            return f"{self.noun} changed ({say(self.old)} -> {say(self.new)})"
        return f"{self.noun} {say(self.old)} -> {say(self.new)}"


def differences(old: Recipe, new: Recipe) -> tuple[Difference, ...]:
    """All that differs, part by part in the order of the recipe; empty when the recipes are equal."""
    before, after = old.part_digests(), new.part_digests()
    return tuple(
        difference
        for part in PARTS
        if before[part] != after[part]
        for difference in _in_part(part, getattr(old, part), getattr(new, part))
    )


def equal_parts(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """The parts that are the same, in the order of the recipe."""
    before, after = old.part_digests(), new.part_digests()
    return tuple(part for part in PARTS if before[part] == after[part])


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
    "inputs": _flat_inputs,
    "environment": _flat_environment,
    "arguments": _flat_arguments,
}

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
