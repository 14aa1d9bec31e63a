"""``python -m airflow_mlpipe.runtime.call``: call the Python function of a step.

The call is that of the LaunchSpec which the environment names. The function's module is imported from the
working directory. What it returned is described in ``returned.json`` in the attempt's directory: a
:class:`~airflow_mlpipe.records.ReturnedValues`, written last.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, MLPipeError, UserError
from airflow_mlpipe.records import SPEC_VARIABLE, CallSpec, LaunchSpec, to_json
from airflow_mlpipe.runtime import credentials
from airflow_mlpipe.runtime.call_arguments import arguments_of
from airflow_mlpipe.runtime.call_results import hand_on
from airflow_mlpipe.runtime.documents import replace
from airflow_mlpipe.runtime.launch_spec import launch_spec

RETURNED = "returned.json"
RAISED = 1
REFUSED = 2


class _RaisedError(Exception):
    """The author's own code raised what is the only argument."""


def main() -> int:
    """Make the call; return the exit code.

    It is 0 when the function returned and all of that was written, RAISED when the author's own code raised,
    and REFUSED, after one line on standard error, when the function cannot be called as it is asked for or
    what it returned cannot be handed on. A SystemExit goes its way, and leaves no ``returned.json``.
    """
    try:
        spec, call = _read_spec()
        function = _own(_load, call)
        _refuse_a_task(function, call)
        credentials.install()
        arguments = arguments_of(function, call, spec)
        returned = _own(_make_call, function, arguments)
        returned_values = hand_on(returned, function, call)
        replace(Path(spec.directory) / RETURNED, to_json(returned_values))
    except _RaisedError as raised:
        _report(*raised.args)
        return RAISED
    except MLPipeError as error:
        sys.stderr.write(f"airflow_mlpipe: {' '.join(str(error).split())}\n")
        return REFUSED
    return 0


def _read_spec() -> tuple[LaunchSpec, CallSpec]:
    spec = launch_spec()
    if spec is None or spec.call is None:
        raise DocumentError(f"{SPEC_VARIABLE} names no launch spec that asks for the call of a function")
    return spec, spec.call


def _load(call: CallSpec) -> Callable[..., Any]:
    if sys.path[0] != (here := os.getcwd()):  # noqa: PTH109 - Python's safe-path mode leaves it out
        sys.path.insert(0, here)
    function: Callable[..., Any] = getattr(importlib.import_module(call.module), call.function)
    return function


def _refuse_a_task(function: Callable[..., Any], call: CallSpec) -> None:
    """A decorator that makes a step, and that nobody knew for one, makes another one here."""
    if getattr(function, "_airflow_is_task_decorator", False):
        raise UserError(
            f"{call.function} is a task here as well, because what makes it a step was not known for that; "
            "write @step, or import the decorator by its own name"
        )


def _make_call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    signature = inspect.signature(function)
    ordered = {name: arguments[name] for name in signature.parameters if name in arguments}
    bound = inspect.BoundArguments(signature, ordered)
    return function(*bound.args, **bound.kwargs)


def _own(code: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return code(*arguments)
    except Exception as error:
        raise _RaisedError(error) from None


def _report(error: Exception) -> None:
    """Print the traceback from the author's first line on, the way the author's ``sys.excepthook`` has it."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)


def _is_ours(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


if __name__ == "__main__":
    sys.exit(main())
