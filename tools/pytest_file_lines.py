"""A pytest plugin that reports a line a test file: ``tests/unit/store/test_lease.py  23 passed  1.2 s``.

For use with ``-q -p tools.pytest_file_lines``; failures are explained after the lines, as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

ORDER = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


class FileLines:
    """Counts the outcomes of one file at a time and writes its line once the next file begins."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._path = ""
        self._outcomes: Counter[str] = Counter()
        self._seconds = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path = report.nodeid.partition("::")[0]
        if path != self._path:
            self._write_line()
            self._path = path
        self._seconds += report.duration
        if outcome := _outcome(report):
            self._outcomes[outcome] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        # No letter a test: the line a file replaces them. The category still feeds the summary.
        return (outcome, "", "") if (outcome := _outcome(report)) else ("", "", "")

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        self._write_line()
        yield

    def _write_line(self) -> None:
        if self._path:
            counts = ", ".join(f"{self._outcomes[name]} {name}" for name in ORDER if self._outcomes[name])
            red = bool(self._outcomes["failed"] or self._outcomes["error"])
            self._terminal.write_line(f"{self._path:60} {counts:>12} {self._seconds:7.1f} s", red=red)
        self._path, self._outcomes, self._seconds = "", Counter(), 0.0


def _outcome(report: pytest.TestReport) -> str:
    """The category of pytest's summary that the report counts for, empty for an uneventful set-up or end."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    if report.when == "call" or report.skipped:
        return report.outcome
    return "error" if report.failed else ""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(FileLines(terminal), "file-lines")
