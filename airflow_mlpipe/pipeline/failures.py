"""Failures of steps: whose they are, what to do about them, and how often a lost step is started anew."""

from __future__ import annotations

import hashlib
import signal
from dataclasses import dataclass

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.records import StepResult
from airflow_mlpipe.reuse.phrases import span

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 120.0

# What a program does to itself. Every other signal is sent by somebody else.
_OWN_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}

_WHOSE: dict[type[StepError], str] = {
    UserError: "its own code failed",
    TargetError: "the compute target cannot run it",
    InfrastructureError: "the machine that ran it failed",
}
_TRY_AGAIN = (
    "; running it again may help: see retries of the task, and infrastructure_retries of its compute target"
)


def step_error(
    result: StepResult, who: str, memory_limit: str | None = None, *, asked_for: bool = True
) -> StepError:
    """The error that the *result* of a step that did not succeed is; *who* is the step, for the message.

    *memory_limit* is that of the compute target as its author wrote it, None when it has none. *asked_for*
    says whether this worker asked for the end of a step that was terminated; else its machine did.
    """
    if result.status == "terminated" and asked_for:
        return StepError(f"{who}: {result.message or 'terminated'}{_last_lines(result)}")
    kind = _kind(result)
    is_unkept = result.status == "failed" and result.exit_code == 0
    whose = "what it left cannot be kept" if is_unkept else _WHOSE[kind]
    advice = _TRY_AGAIN if kind is InfrastructureError else ""
    return kind(f"{who}: {whose}: {_what(result, memory_limit)}{advice}{_last_lines(result)}")


def attributed(error: StepError, who: str) -> StepError:
    """What a driver raised, with the step's name and whose failure it is."""
    kind = next((kind for kind in _WHOSE if isinstance(error, kind)), None)
    return StepError(f"{who}: {error}") if kind is None else kind(f"{who}: {_WHOSE[kind]}: {error}")


def back_off(lost: int, attempt: str) -> float:
    """The seconds to wait after the loss number *lost*, counted from 1, of a step's attempts.

    It is up to a quarter less for some *attempt* than for others, so that the steps which one machine took
    with it do not all come back at once.
    """
    pause = FIRST_PAUSE_SECONDS * 2.0 ** min(lost - 1, 10)
    share = hashlib.sha256(f"{attempt}.{lost}".encode()).digest()[0] / 255
    return min(pause, LONGEST_PAUSE_SECONDS) * (1 - share / 4)


@dataclass
class Retries:
    """How often a step that its target lost is started anew, within one try of its task.

    At most *bound* times. *attempt* is the id of the try's first attempt, *number* how many were lost so far.
    """

    bound: int
    attempt: str
    number: int = 0

    def pause_after(self, error: StepError) -> float | None:
        """Count a lost attempt; the seconds until the next one, None when *error* ends the try."""
        if not isinstance(error, InfrastructureError) or self.number >= self.bound:
            return None
        self.number += 1
        return back_off(self.number, self.attempt)

    def sentence(self, error: StepError, pause: float) -> str:
        """The loss just counted, for the log."""
        return (
            f"infrastructure failure {self.number} of {self.bound}, starting anew in {span(pause)}: {error}"
        )


def _kind(result: StepResult) -> type[StepError]:
    code = result.exit_code
    if result.status == "terminated":
        return InfrastructureError
    if code is None:
        return TargetError
    is_own = code >= 0 or -code in _OWN_SIGNALS or (code == -signal.SIGKILL and result.out_of_memory)
    return UserError if is_own else InfrastructureError


def _what(result: StepResult, memory_limit: str | None) -> str:
    if result.status == "terminated":
        return "it was told to end (SIGTERM), and not by this task"
    what = result.message or f"ended with exit code {result.exit_code}"
    if not result.out_of_memory:
        return what
    asked = "" if memory_limit is None else f" (memory={memory_limit!r})"
    return f"{what}; let it need less, or give its compute target more memory{asked}"


def _last_lines(result: StepResult) -> str:
    if not result.last_lines:
        return "; it printed nothing"
    return "; its last lines were:" + "".join(f"\n    {line}" for line in result.last_lines)
