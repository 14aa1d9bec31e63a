"""The code that is shipped for a step's function."""

from __future__ import annotations

import functools
import inspect
import tokenize
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.shaking import ShakenFunction, shake

_MARK = "_mlpipe_makes_steps"


def shipped(function: Callable[..., Any], who: str) -> ShakenFunction:
    """The module that is cut out for *function*, or for the one that its decorators have wrapped.

    Raises DefinitionError when it cannot be shipped.
    """
    innermost = inspect.unwrap(function)
    if not isinstance(innermost, types.FunctionType):
        raise DefinitionError(
            f"{who}: {innermost!r} is no function written with 'def', so it cannot be shipped; decorate one"
        )
    return shake(
        _source(innermost, who),
        name=innermost.__name__,
        line=innermost.__code__.co_firstlineno,
        package=innermost.__globals__.get("__package__") or "",
        who=who,
        makers=_makers(innermost),
    )


def makes_steps(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """Mark *decorator*, so that it is known for what it is also where another module has imported it."""
    vars(decorator)[_MARK] = True
    return decorator


def _makers(function: types.FunctionType) -> frozenset[str]:
    """The names in the module of *function* of decorators that make steps."""
    return frozenset(
        name
        for name, value in function.__globals__.items()
        if isinstance(value, types.FunctionType) and _MARK in vars(value)
    )


def _source(function: types.FunctionType, who: str) -> str:
    """The text of the module in which *function* is written."""
    try:
        file = inspect.getsourcefile(function)
        if file is None:
            raise OSError("it has no source file")
        status = Path(file).stat()
        return _text(file, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    except (OSError, TypeError, SyntaxError) as error:
        raise DefinitionError(
            f"{who}: the source of {function.__name__}() cannot be read ({error}); a step's function is "
            "shipped as source, so define it in a file"
        ) from error


@functools.lru_cache(maxsize=8)
def _text(file: str, *version: int) -> str:
    """The text of *file*, of which each function of a module is cut; *version* tells its versions apart."""
    with tokenize.open(file) as stream:
        return stream.read()
