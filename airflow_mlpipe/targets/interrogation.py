"""What an interpreter says of itself: its version, and where it looks for modules.

It is asked by starting it as a step's process is started, since ``.pth`` files, ``sitecustomize`` and
variables have a say. The answer is remembered until a folder has changed that may lead to another one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.targets.installed import RACY_NS, Memory
from airflow_mlpipe.targets.python_path import VARIABLE

_SECONDS = 60
QUESTION = """
import json, os, site, sys, sysconfig
standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
standard += [os.path.join(place, "lib-dynload") for place in standard]
standard = {os.path.realpath(place) for place in [*standard, sysconfig.get_config_var("DESTSHARED")] if place}
archive = "python%d%d.zip" % sys.version_info[:2]
places = [place for place in sys.path if place and not place.endswith(archive)]
json.dump({
    "version": "%d.%d" % sys.version_info[:2],
    "paths": [place for place in places if os.path.realpath(place) not in standard],
    "site": [*site.getsitepackages(), site.getusersitepackages()],
}, sys.stdout)
"""


@dataclass(frozen=True)
class Interpreter:
    """``version`` is such as "3.11"; ``paths`` is its ``sys.path`` without the standard library."""

    version: str
    paths: tuple[str, ...]


def interrogate(
    python: str, python_path: Sequence[str], memory: Memory, clock: Callable[[], int] = time.time_ns
) -> Interpreter:
    """What *python* answers when PYTHONPATH is *python_path*; TargetError when it does not answer.

    *clock* tells the time in nanoseconds since the epoch.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    variables[VARIABLE] = os.pathsep.join(python_path)
    try:
        key = _key(python, variables)
        text = memory.lookup("search path", key)
        if text is None or not _holds(text):
            asked_at = clock()
            text = _with_states(_ask(python, variables))
            if asked_at - max(_states(text).values(), default=0) >= RACY_NS:
                memory.remember("search path", key, text)
        answer = json.loads(text)
        return Interpreter(answer["version"], tuple(answer["paths"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise TargetError(f"the interpreter {python} does not answer: {error}") from error


def _key(python: str, variables: dict[str, str]) -> str:
    real = os.path.realpath(python)
    status = Path(real).stat()
    facts = [
        python,
        real,
        status.st_mtime_ns,
        status.st_size,
        os.environ.get("HOME"),
        sorted(variables.items()),
    ]
    return json.dumps(facts)


def _ask(python: str, variables: dict[str, str]) -> str:
    return subprocess.run(
        [python, "-c", QUESTION],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
    ).stdout


def _with_states(answer: str) -> str:
    document = json.loads(answer)
    places = dict.fromkeys([*document["paths"], *document.pop("site")])
    return json.dumps({**document, "states": {place: _state(place) for place in places}})


def _states(text: str) -> dict[str, int]:
    states: dict[str, int] = json.loads(text)["states"]
    return states


def _holds(text: str) -> bool:
    """Whether nothing was installed since, which may have added a folder to the path."""
    return all(_state(place) == state for place, state in _states(text).items())


def _state(place: str) -> int:
    """When *place* changed last, in nanoseconds; 0 when it is not there."""
    try:
        status = Path(place).stat()
    except OSError:
        return 0
    return max(status.st_mtime_ns, status.st_ctime_ns)
