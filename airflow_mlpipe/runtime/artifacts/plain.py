"""Artifacts of what Python itself has: JSON, text and bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.registry import WAYS_OUT, ArtifactFormat, dotted_name, dotted_names

SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1  # what Airflow's own messages can hold
DEEPEST_NESTING = 100


class NotJSONError(UserError):
    """A value is not JSON; the message says which part of it, and why."""


def as_json(value: Any) -> Any:
    """*value* as JSON holds it: tuples as lists, numpy's single values and subclasses as Python's own.

    Raises NotJSONError for anything but None, bool, int, float, text, and lists, tuples and dicts with texts
    as keys that hold nothing else; for floats that are not finite, integers of more than 64 bits, texts that
    are not Unicode, and more than 100 levels.
    """
    return _as_json(value, ())


def json_text(tree: Any) -> str:
    """What :func:`as_json` returned as compact text, the same for equal values whatever the order of keys."""
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


class JsonFormat(ArtifactFormat):
    """JSON, for what is too much of it to travel with the task."""

    name = "json"
    file = "data.json"
    types = (dict, list, tuple, bool, int, float, type(None), "numpy.generic")

    def write(self, value: Any, path: Path) -> None:
        path.write_bytes(json_text(as_json(value)).encode("utf8"))

    def read(self, path: Path, wanted: str) -> Any:
        try:
            value = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise DocumentError(f"{path.name} is not JSON: {error}") from error
        return tuple(value) if wanted == "tuple" and isinstance(value, list) else value


class TextFormat(ArtifactFormat):
    """A text as UTF-8, line ends as they are."""

    name = "text"
    file = "data.txt"
    types = (str,)

    def write(self, value: str, path: Path) -> None:
        path.write_bytes(as_json(value).encode("utf8"))

    def read(self, path: Path, wanted: str) -> str:
        try:
            return path.read_bytes().decode("utf8")
        except UnicodeDecodeError as error:
            raise DocumentError(f"{path.name} is not UTF-8: {error}") from error


class BytesFormat(ArtifactFormat):
    """Bytes as they are."""

    name = "bytes"
    file = "data.bin"
    types = (bytes, bytearray)

    def write(self, value: bytes | bytearray, path: Path) -> None:
        path.write_bytes(value)

    def read(self, path: Path, wanted: str) -> bytes | bytearray:
        content = path.read_bytes()
        return bytearray(content) if wanted == "bytearray" else content


FORMATS = (JsonFormat(), TextFormat(), BytesFormat())


def _as_json(value: Any, place: tuple[object, ...]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, int):
        return _integer(int(value), place)
    if isinstance(value, float):
        return _finite(float(value), place)
    if len(place) == DEEPEST_NESTING:
        raise NotJSONError(f"it is nested more than {DEEPEST_NESTING} levels deep, or holds itself")
    if isinstance(value, (list, tuple)):
        return [_as_json(item, (*place, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {_key(key, place): _as_json(item, (*place, key)) for key, item in value.items()}
    if "numpy.generic" in dotted_names(type(value)) and type(number := value.item()) is not type(value):
        return _as_json(number, place)
    raise NotJSONError(
        f"{_holds(place)} a value of type {dotted_name(type(value))}, which is not JSON; {WAYS_OUT}"
    )


def _text(value: str, place: tuple[object, ...]) -> str:
    text = str.__str__(value)  # a subclass, such as an enum of texts, may print itself in another way
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        raise NotJSONError(f"{_holds(place)} a text that is not Unicode ({error}); return bytes") from error
    return text


def _integer(value: int, place: tuple[object, ...]) -> int:
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise NotJSONError(f"{_holds(place)} an integer of more than 64 bits; return it as a text")
    return value


def _finite(value: float, place: tuple[object, ...]) -> float:
    if not math.isfinite(value):
        raise NotJSONError(
            f"{_holds(place)} the float {value}, which JSON has no word for; return None for it"
        )
    return value


def _key(key: object, place: tuple[object, ...]) -> str:
    if not isinstance(key, str):
        raise NotJSONError(f"{_holds(place)} a dict with the key {key!r}, which is not a text; make it one")
    return _text(key, (*place, key))


def _holds(place: tuple[object, ...]) -> str:
    return f"at {''.join(f'[{key!r}]' for key in place)} it holds" if place else "it is"
