"""``python -m benchmarks``: run the benchmarks, write their JSON documents, print their tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    chains,
    deferred_pods,
    fan_out,
    hashing,
    hashing_memory,
    launch,
    lookup,
    mutations,
    parsing,
    parsing_functions,
    plan,
    simultaneous,
    sweep,
    transfer,
)
from benchmarks.report import Report
from tools.console import say, show

RESULTS = Path(__file__).resolve().parent / "results"
FOLDER = Path(".demo") / "benchmarks"

Benchmark = Callable[[Path, bool], Report]


def _parsing(folder: Path, quick: bool) -> Report:
    return parsing.measure(folder, count=200, rounds=1 if quick else 9)


def _parsing_functions(folder: Path, quick: bool) -> Report:
    return parsing_functions.measure(folder, count=100, rounds=1 if quick else 9)


def _fan_out(folder: Path, quick: bool) -> Report:
    width, rounds = (6, 1) if quick else (200, 3)
    return fan_out.measure(folder, width=width, rounds=rounds)


def _sweep(folder: Path, quick: bool) -> Report:
    width, chunk = (8, 4) if quick else (1000, 200)
    return sweep.measure(folder, width=width, chunk=chunk)


def _chains(folder: Path, quick: bool) -> Report:
    length, rounds = (4, 1) if quick else (20, 5)
    return chains.measure(folder, length=length, rounds=rounds, idle_sleep=None)


def _chains_busy_scheduler(folder: Path, quick: bool) -> Report:
    length, rounds = (4, 1) if quick else (20, 5)
    return chains.measure(folder, length=length, rounds=rounds, idle_sleep=0.1)


def _hashing(folder: Path, quick: bool) -> Report:
    files, rounds = (500, 1) if quick else (10_000, 7)
    return hashing.measure(folder, files=files, file_size=100_000, rounds=rounds)


def _hashing_memory(folder: Path, quick: bool) -> Report:
    return hashing_memory.measure(folder, files=20_000 if quick else 1_000_000)


def _deferred_pods(folder: Path, quick: bool) -> Report:
    width, rounds = (4, 1) if quick else (50, 1)
    return deferred_pods.measure(folder, width=width, rounds=rounds)


def _launch(folder: Path, quick: bool) -> Report:
    return launch.measure(folder, rounds=1 if quick else 7)


def _lookup(folder: Path, quick: bool) -> Report:
    sizes, lookups = ((10, 100), 20) if quick else ((10, 1_000, 100_000), 300)
    return lookup.measure(folder, sizes=sizes, lookups=lookups)


def _mutations(folder: Path, quick: bool) -> Report:
    woven_projects, of_each_kind = (0, 1) if quick else (20, 5)
    return mutations.measure(folder, woven_projects=woven_projects, of_each_kind=of_each_kind)


def _plan(folder: Path, quick: bool) -> Report:
    count, rounds = (10, 1) if quick else (200, 9)
    return plan.measure(folder, count=count, rounds=rounds)


def _simultaneous(folder: Path, quick: bool) -> Report:
    runs, rounds = (5, 1) if quick else (50, 5)
    return simultaneous.measure(folder, runs=runs, rounds=rounds)


def _transfer(folder: Path, quick: bool) -> Report:
    one, files, rounds = (20_000_000, 100, 1) if quick else (1_000_000_000, 10_000, 3)
    return transfer.measure(folder, one=one, files=files, file_size=4_000, rounds=rounds)


BENCHMARKS: Mapping[str, Benchmark] = {
    "deferred_pods": _deferred_pods,
    "hashing": _hashing,
    "hashing_memory": _hashing_memory,
    "launch": _launch,
    "lookup": _lookup,
    "mutations": _mutations,
    "parsing": _parsing,
    "parsing_functions": _parsing_functions,
    "plan": _plan,
    "simultaneous": _simultaneous,
    "chains_busy_scheduler": _chains_busy_scheduler,
    "chains": _chains,
    "fan_out": _fan_out,
    "sweep": _sweep,
    "transfer": _transfer,
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
