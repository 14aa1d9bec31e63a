"""What all commands share: where they print, how they end, and how a mistake is told."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TextIO

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.pipeline.datastores import know_datastores

FAILED = 1
MISUSED = 2

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


def command(body: Callable[[Namespace], int | None]) -> Callable[[Namespace], None]:
    """Make *body* a command: what it returns is the exit code, None is 0.

    What it prints in :func:`results`, and nothing else, goes to standard output. An MLPipeError is
    a sentence on standard error and exit code 1, without a traceback.
    """

    @functools.wraps(body)
    def run(args: Namespace) -> None:
        # Without it, Airflow looks for variables and connections in the environment only.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        know_datastores()
        try:
            with _results_apart():
                code = body(args)
        except MLPipeError as error:
            say(f"airflow mlpipe: {error}")
            code = FAILED
        except BrokenPipeError:
            code = None  # whoever reads, as in "| head", has seen enough
        if code:
            raise SystemExit(code)

    return run


def say(sentence: str) -> None:
    """Tell people how far the work is, or what was done, on standard error."""
    print(sentence, file=sys.stderr)


@contextlib.contextmanager
def results() -> Iterator[None]:
    """During the block ``print`` writes to the standard output of the command."""
    # Not longer than for a print: a logger that is made meanwhile would keep this as its output.
    with contextlib.redirect_stdout(_results.get() or sys.stdout):
        yield


@contextlib.contextmanager
def _results_apart() -> Iterator[None]:
    """During the block all but :func:`results` goes to standard error, Airflow's log above all."""
    log = sys.stdout
    try:
        number = log.fileno()
    except (OSError, AttributeError):  # captured in memory, or closed
        yield
        return
    log.flush()
    kept = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    try:
        # What a terminal cannot show is no reason to fail.
        with os.fdopen(os.dup(kept), "w", encoding=log.encoding, errors="backslashreplace") as output:
            token = _results.set(output)
            try:
                yield
            finally:
                _results.reset(token)
    finally:
        log.flush()
        os.dup2(kept, number)
        os.close(kept)
