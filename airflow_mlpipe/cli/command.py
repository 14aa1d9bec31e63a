"""What all commands share: where they print, how they end, and how a mistake is told."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator

from airflow_mlpipe.errors import MLPipeError

FAILED = 1
MISUSED = 2


def command(body: Callable[[Namespace], int | None]) -> Callable[[Namespace], None]:
    """Make *body* a command: what it returns is the exit code, None is 0.

    What it prints, and nothing else, goes to standard output. An MLPipeError is a sentence on standard error
    and exit code 1, without a traceback.
    """

    @functools.wraps(body)
    def run(args: Namespace) -> None:
        # Without it, Airflow looks for variables and connections in the environment only.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        try:
            with _results_apart():
                code = body(args)
        except MLPipeError as error:
            print(f"airflow mlpipe: {error}", file=sys.stderr)
            code = FAILED
        except BrokenPipeError:
            code = None  # whoever reads, as in "| head", has seen enough
        if code:
            raise SystemExit(code)

    return run


@contextlib.contextmanager
def _results_apart() -> Iterator[None]:
    """During the block Airflow's log, which holds on to standard output, writes to standard error."""
    log = sys.stdout
    try:
        number = log.fileno()
    except OSError:  # captured in memory, which no log has got hold of
        yield
        return
    log.flush()
    kept = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    try:
        with (
            os.fdopen(os.dup(kept), "w", encoding=log.encoding, errors=log.errors) as results,
            contextlib.redirect_stdout(results),
        ):
            yield
    finally:
        log.flush()
        os.dup2(kept, number)
        os.close(kept)
