"""From what a function returned to what the worker hands on: small JSON, and artifacts."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import MLPipeError, UserError
from airflow_mlpipe.records import CallSpec, ReturnedValues
from airflow_mlpipe.runtime.annotations import is_pickle
from airflow_mlpipe.runtime.artifacts.artifact import write_artifact
from airflow_mlpipe.runtime.artifacts.plain import JsonFormat, TextFormat, as_json, json_text
from airflow_mlpipe.runtime.artifacts.registry import dotted_name, format_for
from airflow_mlpipe.runtime.hints import hints_of, value_hint

WHOLE = "return_value"
LARGEST_INLINE = 256 * 1024  # bytes of JSON text, for each result

_KEYS_OF_AIRFLOW = frozenset({"__classname__", "__id__", "__type"})
_TAKEN = frozenset({WHOLE, "metrics", "mlpipe_decision"})
_ARTIFACT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def hand_on(returned: Any, function: Callable[..., Any], call: CallSpec) -> ReturnedValues:
    """Write the artifacts of what *function* *returned*, and describe the whole.

    Raises UserError for what does not fit the function's declaration or cannot be written.
    """
    _refuse_unfinished(returned, call.function)
    if returned is None and not call.unrolls:
        return ReturnedValues()
    results = _unrolled(returned, call) if call.unrolls else {WHOLE: returned}
    declared = hints_of(function).get("return", Any)
    values: dict[str, Any] = {}
    artifacts: list[str] = []
    for name, value in results.items():
        what = f"what {call.function} returned" + (f" under {name!r}" if call.unrolls else "")
        hint = value_hint(declared, name) if call.unrolls else declared
        try:
            tree, is_small = _small_json(value, hint, what)
            if is_small:
                values[name] = tree
            else:
                write_artifact(tree, _folder(name, call), hint)
                artifacts.append(name)
        except MLPipeError as error:
            raise UserError(f"{what} cannot be handed on: {error}") from error
    return ReturnedValues(values, artifacts, call.unrolls)


def _small_json(value: Any, hint: Any, what: str) -> tuple[Any, bool]:
    """*value*, as JSON if that is what it is, and whether it is small enough to travel with the task."""
    if value is None:
        return None, True
    if is_pickle(hint) or not isinstance(format_for(value), (JsonFormat, TextFormat)):
        return value, False
    tree = as_json(value)
    size = len(json_text(tree).encode("utf8"))
    if size > LARGEST_INLINE:
        why = f"is {size:,} bytes of JSON, more than the {LARGEST_INLINE:,} that travel with a task"
    elif (key := _key_of_airflow(tree)) is not None:
        why = f"holds the key {key!r}, by which Airflow would take a dict for another object"
    else:
        return tree, True
    sys.stdout.write(
        f"airflow_mlpipe: {what} {why}, so it is stored as an artifact; "
        "an ordinary task that takes it gets a reference\n"
    )
    return tree, False


def _key_of_airflow(tree: Any) -> str | None:
    """A key in *tree* that means something to Airflow when it reads XCom; None without one."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if found := _KEYS_OF_AIRFLOW & item.keys():
                return min(found)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return None


def _folder(name: str, call: CallSpec) -> Path:
    if not _ARTIFACT_NAME.fullmatch(name):
        raise UserError(
            f"it is stored under its key, and {name!r} cannot name a folder; "
            "use up to 64 letters, digits and '_', the first no digit"
        )
    return Path(call.artifacts_directory) / name


def _unrolled(returned: Any, call: CallSpec) -> dict[str, Any]:
    results = _fields(returned)
    if results is None:
        raise UserError(
            f"what {call.function} returned is of type {dotted_name(type(returned))}, and its results have "
            "names of their own; return a dict, a NamedTuple or a dataclass, or set multiple_outputs=False"
        )
    for key in results:
        _check_key(key, call)
    if call.fields and set(results) != set(call.fields):
        raise UserError(
            f"{call.function} returned {_listed(results)}, and its annotation declares "
            f"{_listed(call.fields)}; return what is declared, no more and no less"
        )
    return results


def _fields(returned: Any) -> dict[Any, Any] | None:
    if isinstance(returned, Mapping):
        return dict(returned)
    if isinstance(returned, tuple) and hasattr(returned, "_asdict"):
        return dict(returned._asdict())
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    return None


def _check_key(key: object, call: CallSpec) -> None:
    if not isinstance(key, str) or not key:
        raise UserError(f"{call.function} returned the key {key!r}; a key is a text that is not empty")
    if key in call.outputs:
        raise UserError(
            f"{key!r} is written twice: by the Output parameter of that name and by what {call.function} "
            "returned; give one of them another name"
        )
    if key in _KEYS_OF_AIRFLOW:
        raise UserError(
            f"{call.function} returned the key {key!r}, by which Airflow would take the dict for another "
            "object; give it another name"
        )
    if key in _TAKEN:
        raise UserError(
            f"{call.function} returned the key {key!r}, under which every step hands on something else; "
            "give it another name"
        )


def _refuse_unfinished(returned: Any, function: str) -> None:
    if inspect.iscoroutine(returned):
        returned.close()  # it would warn that nobody awaited it
        raise UserError(
            f"{function} returned a coroutine, which nobody awaits here; return asyncio.run(...) of it"
        )
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise UserError(
            f"{function} returned a generator, whose values are not there yet; return a list of them"
        )


def _listed(names: Any) -> str:
    return ", ".join(map(repr, sorted(names))) or "nothing"
