"""``python -m benchmarks``: run the benchmarks, write their JSON documents, print their tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import chains, parsing
from benchmarks.report import Report
from tools.console import say, show

RESULTS = Path(__file__).resolve().parent / "results"
FOLDER = Path(".demo") / "benchmarks"

Benchmark = Callable[[Path, bool], Report]


def _parsing(folder: Path, quick: bool) -> Report:
    return parsing.measure(folder, count=200, rounds=1 if quick else 9)


def _chains(folder: Path, quick: bool) -> Report:
    length, rounds = (4, 1) if quick else (20, 5)
    return chains.measure(folder, length=length, rounds=rounds, idle_sleep=None)


def _chains_busy_scheduler(folder: Path, quick: bool) -> Report:
    length, rounds = (4, 1) if quick else (20, 5)
    return chains.measure(folder, length=length, rounds=rounds, idle_sleep=0.1)


BENCHMARKS: Mapping[str, Benchmark] = {
    "parsing": _parsing,
    "chains_busy_scheduler": _chains_busy_scheduler,
    "chains": _chains,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 when a ratio is above its aim (never with ``--quick``, which proves nothing)."""
    options = _parser().parse_args(arguments)
    reports = []
    for name in options.names or BENCHMARKS:
        say(f"benchmark {name}: {'quick, ' if options.quick else ''}in {options.folder / name}")
        reports.append(report := BENCHMARKS[name]((options.folder / name).absolute(), options.quick))
        say(f"wrote {report.write(options.results)}")
    for report in reports:
        show()
        show(report.table())
    missed = [
        comparison.name
        for report in reports
        for comparison in report.comparisons
        if comparison.aim is not None and comparison.ratio > comparison.aim
    ]
    show()
    say(f"Above the aim: {', '.join(missed)}." if missed else "No ratio is above its aim.")
    return 1 if missed and not options.quick else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what a step costs beside Airflow's own tasks; half an hour on two cores.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which ones; default is all: {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a few samples, to see that it works")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where Airflow's home and the rest lie (%(default)s)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON documents go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
