"""What mypy and pyright say of ``@step``: each program is a claim, and marks the lines that are wrong.

``# E: arg-type, reportArgumentType`` at the end of a line names mypy's code and pyright's rule for it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parent / "programs"
PROGRAMS = sorted(path.name for path in FOLDER.glob("*.py"))
MARK = re.compile(r"# E: (?P<code>[a-z-]+), (?P<rule>report\w+)$")

COMMANDS = {
    # Reading a cache that another run may be writing saves less than it risks.
    "mypy": ("mypy", "--config-file=mypy.ini", f"--cache-dir={os.devnull}", "--output=json", "."),
    "pyright": ("pyright", "--project=.", f"--pythonpath={sys.executable}", "--outputjson"),
}


class Finding(NamedTuple):
    """An error that a type checker reports."""

    program: str
    line: int
    rule: str
    message: str


def findings_of_mypy(output: str) -> Iterator[Finding]:
    for found in map(json.loads, output.splitlines()):
        if found["severity"] == "error":
            yield Finding(Path(found["file"]).name, found["line"], found["code"], found["message"])


def findings_of_pyright(output: str) -> Iterator[Finding]:
    for found in json.loads(output)["generalDiagnostics"]:
        line = found["range"]["start"]["line"] + 1
        yield Finding(Path(found["file"]).name, line, found.get("rule", "syntax"), found["message"])


READERS = {"mypy": findings_of_mypy, "pyright": findings_of_pyright}


@pytest.fixture(scope="module")
def findings() -> dict[str, list[Finding]]:
    """What each type checker finds in all programs; the two run side by side."""
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    running = {
        checker: subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=FOLDER,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for checker, command in COMMANDS.items()
    }
    found = {}
    for checker, process in running.items():
        output, trouble = process.communicate()
        assert process.returncode == 1, f"{checker} could not check the programs: {output}{trouble}"
        found[checker] = list(READERS[checker](output))
    return found


def marks(program: str, group: str) -> dict[int, set[str]]:
    """The code or rule that *program* expects in a line, by the number of the line."""
    lines = enumerate((FOLDER / program).read_text("utf8").splitlines(), start=1)
    return {number: {found[group]} for number, line in lines if (found := MARK.search(line))}


@pytest.mark.parametrize(("checker", "group"), [("mypy", "code"), ("pyright", "rule")])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_type_checker_finds_what_is_wrong_and_nothing_else(
    program: str, checker: str, group: str, findings: dict[str, list[Finding]]
) -> None:
    expected = marks(program, group)
    found: dict[int, set[str]] = defaultdict(set)
    for finding in findings[checker]:
        if finding.program == program:
            found[finding.line].add(finding.rule)
    # Of a line that is wrong, checkers may say more than one thing.
    named = {line: rules & expected.get(line, rules) for line, rules in found.items()}
    assert named == expected, [finding for finding in findings[checker] if finding.program == program]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_has_something_to_find(program: str) -> None:
    assert marks(program, "code"), "a program without an error does not show that it is checked at all"


def test_every_mark_is_read() -> None:
    text = "".join((FOLDER / program).read_text("utf8") for program in PROGRAMS)
    assert text.count("# E") == sum(len(marks(program, "rule")) for program in PROGRAMS)
