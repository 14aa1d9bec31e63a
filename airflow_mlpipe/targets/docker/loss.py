"""Why an attempt left no result, as its container tells it."""

from __future__ import annotations

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.targets.docker.engine import EngineContainer
from airflow_mlpipe.targets.log_file import last_words

KILLED = 137
"""The exit code of a container whose first process was killed."""


def gone(name: str, lines: list[str]) -> StepError:
    """The failure of an attempt whose container *name* is not there any more."""
    return InfrastructureError(
        f"the container {name} is gone and left no result: it was removed, or its engine was set up "
        f"anew{last_words(lines)}"
    )


def silent(name: str, host: str, lines: list[str]) -> StepError:
    """The failure of an attempt whose container *name* belongs to the engine of another worker, on *host*."""
    return InfrastructureError(
        f"the container {name} of the Docker engine on {host} gives no sign of life, and left no "
        f"result{last_words(lines)}"
    )


def never_ran(target: DockerTarget, container: EngineContainer, lines: list[str]) -> StepError:
    """The failure of an attempt whose supervisor gave no sign of life from its *container*."""
    return TargetError(
        f"the step's supervisor cannot run in its container, and ended with code {container.exit_code}; it "
        f"needs Python 3.10 or newer as {target.python!r} in the image, a user who may write to the folder "
        "of the attempt, and an engine that finds the worker's folders under the same paths: "
        f"shares_disk=False is for one that does not{last_words(lines)}"
    )


def ended_early(target: DockerTarget, name: str, container: EngineContainer, lines: list[str]) -> StepError:
    """The failure of an attempt whose *container* ended; *lines* are the last that it printed."""
    words = last_words(lines)
    if container.out_of_memory:
        limit = "" if target.memory is None else f" of {target.memory}"
        return UserError(
            f"the container ran out of memory: its limit{limit} was reached; let the step need less, or give "
            f"compute target {target.name!r} more memory{words}"
        )
    if container.exit_code == KILLED:
        return InfrastructureError(
            f"the container {name} was killed from outside, as 'docker kill' or the end of its engine does "
            f"it{words}"
        )
    return InfrastructureError(
        f"the container {name} ended with code {container.exit_code} and left no result{words}"
    )
