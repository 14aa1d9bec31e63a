"""The process that supervises the step on behalf of the carrier."""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from airflow_mlpipe.records import LaunchSpec, Private, from_json, to_json
from airflow_mlpipe.runtime.process_tree import END_SIGNALS, dying_with_parent

_SEPARATOR = b"\0"  # which JSON has in no place


class Supervision:
    """A process that waits until it is told which attempt to supervise, and ends with it.

    It is a fork of this one, which has imported most of what it needs: a step that waited for one more
    interpreter would begin later by a tenth of a second. To be made while there are no threads, since a fork
    would wait for ever for what they hold. It is killed with this process.
    """

    def __init__(self) -> None:
        self.returncode: int | None = None
        orders, self._orders = os.pipe()
        self._end, ended = os.pipe()  # which closes when nobody has it open any more
        end_with_this = dying_with_parent(os.getpid())
        self._process = os.fork()
        if self._process == 0:
            end_with_this()
            os.close(self._orders)
            os.close(self._end)
            _supervise_when_told(orders)
        os.close(orders)
        os.close(ended)

    def begin(self, spec: LaunchSpec, private: Private, result_name: str) -> None:
        """Have the attempt of *spec* run, and *result_name* in its directory say how it ended. Once."""
        documents = (to_json(spec).encode(), to_json(private).encode(), result_name.encode())
        with suppress(BrokenPipeError), os.fdopen(self._orders, "wb") as orders:  # it has ended: see wait()
            orders.write(_SEPARATOR.join(documents))

    def wait(self, seconds: float) -> bool:
        """Whether the process has ended, at the latest after *seconds*."""
        if self.returncode is None and select.select([self._end], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        return self.returncode is not None

    def terminate(self) -> None:
        """Ask for the end of the attempt. Nothing happens when the process has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # this may be asked for while wait() is finding out
                os.kill(self._process, signal.SIGTERM)


def _supervise_when_told(orders: int) -> NoReturn:
    """What the fork does instead of returning to where it was made."""
    code = 1
    try:
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # Imported while the carrier fetches what the step needs.
        from airflow_mlpipe.runtime.supervisor import supervise

        with os.fdopen(orders, "rb") as stream:
            told = stream.read()
        if told:
            spec_document, private_document, result_name = told.split(_SEPARATOR)
            spec = from_json(LaunchSpec, spec_document)
            directory = Path(spec.directory)
            _print_to(directory / "log.txt")
            private = from_json(Private, private_document)
            supervise(spec, directory / "spec.json", private, result_name.decode())
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _print_to(log: Path) -> None:
    """Add what this process prints, such as a traceback, to *log*."""
    with log.open("ab") as stream:
        for standard in (1, 2):
            os.dup2(stream.fileno(), standard)
