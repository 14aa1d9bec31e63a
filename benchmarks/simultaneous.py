"""Many runs of one step at once: how often it is executed, and how long all of them take."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

from benchmarks.report import Comparison, Report, load
from tools.lone_step import LoneStep

PAUSE_SECONDS = 0.5  # between two looks of a run that waits
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Crowd:
    """One round: what came of runs that began at once."""

    seconds: float
    executions: int
    reused: int
    references: int


def measure(folder: Path, *, runs: int, rounds: int) -> Report:
    """Let *runs* processes run one step at once, *rounds* times, in turns with one that runs it alone."""
    many, alone, loads = [], [], []
    for number in range(rounds):
        loads.append(load())
        many.append(_round(folder / f"many-{number}", runs))
        alone.append(_round(folder / f"alone-{number}", 1))
    return Report(
        name="simultaneous",
        settings={"runs": runs, "rounds": rounds, "pause_seconds": PAUSE_SECONDS},
        comparisons=[
            Comparison(
                f"executions, {runs} runs at once",
                "one run alone",
                "runs",
                [crowd.executions for crowd in many],
                [crowd.executions for crowd in alone],
                aim=1.0,
            ),
            Comparison(
                f"wall until all {runs} have ended",
                "one run alone",
                "s",
                [crowd.seconds for crowd in many],
                [crowd.seconds for crowd in alone],
            ),
        ],
        details={
            "reused": [crowd.reused for crowd in many],
            "different_references": [crowd.references for crowd in many],
            "load_average": loads,
        },
    )


def _round(folder: Path, runs: int) -> Crowd:
    shutil.rmtree(folder, ignore_errors=True)
    step = LoneStep(folder)
    # Forked, as LocalExecutor's workers are: none pays for importing Airflow.
    context = multiprocessing.get_context("fork")
    results: Queue[tuple[str, str]] = context.Queue()
    _import_airflow()
    processes = [context.Process(target=_take_part, args=(step, number, results)) for number in range(runs)]
    began = time.monotonic()
    for process in processes:
        process.start()
    handed_on = [results.get(timeout=PATIENCE_SECONDS) for _ in processes]
    seconds = time.monotonic() - began
    for process in processes:
        process.join()
    actions = [action for action, _ in handed_on]
    return Crowd(
        seconds, step.executions, actions.count("reused"), len({reference for _, reference in handed_on})
    )


def _take_part(step: LoneStep, number: int, results: Queue[tuple[str, str]]) -> None:
    done = step.run(f"run-{number}", pause=PAUSE_SECONDS)
    results.put((done.decision["action"], done.reference.model_dump_json()))


def _import_airflow() -> None:
    import airflow.sdk  # noqa: F401

    import airflow_mlpipe.operators.python_script
    import airflow_mlpipe.pipeline.production
    import airflow_mlpipe.pipeline.step_run
    import airflow_mlpipe.store.sealing  # noqa: F401
