"""``make demo``: a retraining pipeline on a real Airflow, run, run again, and run once more after an edit."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.airflow_api import AirflowRequestError
from tools.airflow_instance import AIRFLOW_ERRORS, AirflowInstance
from tools.airflow_processes import airflow_command, end_processes_of
from tools.console import elapsed, say, show
from tools.example_settings import example_settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(".demo") / "run"
AIRFLOW = "airflow"  # the instance's home in that folder
MARKER = ".made-by-the-demo"
DAG_ID = "retrain_digits"
EDITED_STEP = "train_network"
EDITED_SCRIPT = "train_network.py"
BEFORE, AFTER = "hidden_layer_sizes=(32,)", "hidden_layer_sizes=(24,)"
RUN_SECONDS = 600.0

EXAMPLES = """\
examples:
  make demo                                      two to three minutes on two cores
  python -m tools.demo --folder /tmp/my-demo     keep everything of this demo in another folder
"""


class BrokenClaimError(Exception):
    """The pipeline did something else than the demo promised."""


@dataclass(frozen=True)
class StepReport:
    """What one step did in one run; times in seconds."""

    step: str
    action: str
    reason: str
    fingerprint: str
    seconds: float
    saved_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 when a claim of the demo was not kept, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        _run_demo(options.folder, options.dags)
    except (BrokenClaimError, *AIRFLOW_ERRORS) as error:
        say(f"The demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("Stopped by Ctrl-C; nothing of the demo is left running.")
        return 130
    say(f"The demo kept its promises, in {elapsed():.0f} s.")
    return 0


def table(reports: Iterable[StepReport], width: int = 110) -> str:
    """The reports as a text table of at most *width* columns; long reasons go over several lines."""
    reports = list(reports)
    longest = max([len("step"), *(len(report.step) for report in reports)])
    heading = f"{'step':{longest}}  decision  seconds   saved  "
    lines = [f"{heading}reason", "-" * width]
    for report in reports:
        saved = f"{report.saved_seconds:.1f}" if report.saved_seconds else ""
        lines += textwrap.wrap(
            f"{report.step:{longest}}  {report.action:8}  {report.seconds:7.1f}  {saved:>6}  {report.reason}",
            width=width,
            subsequent_indent=" " * len(heading),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def check_all(reports: Sequence[StepReport], action: str, which_run: str) -> None:
    """Raise BrokenClaimError unless every step did *action*."""
    others = [report for report in reports if report.action != action]
    if not reports:
        raise BrokenClaimError(f"the {which_run} run reported no step at all")
    if others:
        listed = "; ".join(f"{report.step} {report.action}: {report.reason}" for report in others)
        raise BrokenClaimError(f"in the {which_run} run every step should have {action}, but {listed}")


def check_edit(
    before: Sequence[StepReport], after: Sequence[StepReport], edited: str, downstream: frozenset[str]
) -> None:
    """Raise BrokenClaimError unless exactly the steps that the edit of *edited* affects ran.

    Affected are the edited step and those of its *downstream* whose fingerprint changed: a step whose inputs
    came out of the rerun byte by byte as before is reused.
    """
    old = {report.step: report.fingerprint for report in before}
    changed = {report.step for report in after if report.fingerprint != old.get(report.step)}
    ran = {report.step for report in after if report.action == "ran"}
    if edited not in ran:
        raise BrokenClaimError(f"{edited} was edited and should have run, but ran only {sorted(ran)}")
    if stray := ran - downstream - {edited}:
        raise BrokenClaimError(f"{sorted(stray)} ran, though they do not come after the edited step {edited}")
    if ran != changed:
        raise BrokenClaimError(f"steps with a new fingerprint are {sorted(changed)}, but {sorted(ran)} ran")


def _run_demo(folder: Path, dags: Path) -> None:
    _empty(folder)
    copies = folder / "dags"
    shutil.copytree(dags, copies, ignore=shutil.ignore_patterns("__pycache__"))
    # The pipeline has a schedule; the demo wants its own runs only.
    settings = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False", **example_settings(copies)}
    with AirflowInstance(folder / AIRFLOW, copies, settings=settings) as airflow:
        airflow.wait_for_dag(DAG_ID)
        first = _run(airflow, "first", "there is nothing to reuse yet")
        check_all(first, "ran", "first")
        second = _run(airflow, "second", "nothing has changed")
        check_all(second, "reused", "second")
        script = _edit(copies)
        say(f"in {script.name}, {BEFORE} has become {AFTER}; what would a run do now?")
        _command(airflow, "plan", DAG_ID)
        third = _run(airflow, "third", "one script was edited")
        check_edit(second, third, EDITED_STEP, _downstream(airflow, EDITED_STEP))
        say(f"and why did {EDITED_STEP} run?")
        _command(airflow, "explain", DAG_ID, "third-run", EDITED_STEP)
    say(f"Everything of this demo is in {folder}; the steps' outputs are in {folder / 'airflow' / 'mlpipe'}.")


def _empty(folder: Path) -> None:
    """Make *folder* anew. Raises FileExistsError, touching nothing, when it is not an earlier demo's."""
    marker = folder / MARKER
    if folder.exists() and not marker.exists():
        raise FileExistsError(f"{folder} exists and was not made by the demo; name another")
    end_processes_of(folder / AIRFLOW, grace=0)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.write_text("Made by the demo, and removed when it next starts.\n")


def _run(airflow: AirflowInstance, name: str, situation: str) -> list[StepReport]:
    say(f"{name} run of {DAG_ID}: {situation}")
    began = elapsed()
    run_id = airflow.trigger(DAG_ID, run_id=f"{name}-run")
    state = airflow.wait_for_run(DAG_ID, run_id, RUN_SECONDS)
    if state != "success":
        raise BrokenClaimError(f"the {name} run ended as {state}.\n{_failures(airflow, run_id)}")
    reports = _reports(airflow, run_id)
    reused = [report for report in reports if report.action == "reused"]
    show()
    show(table(reports, max(80, min(140, shutil.get_terminal_size((110, 24)).columns))))
    show()
    saved = sum(report.saved_seconds for report in reused)
    say(
        f"{name} run: {elapsed() - began:.0f} s; steps run: {len(reports) - len(reused)}, "
        f"reused: {len(reused)}, work saved: {saved:.0f} s"
    )
    return reports


def _command(airflow: AirflowInstance, *words: str) -> None:
    """Type ``airflow mlpipe`` and *words*, and show what it prints. Raises BrokenClaimError when it fails."""
    done = subprocess.run(
        airflow_command("mlpipe", *words),
        env=airflow.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BrokenClaimError(f"airflow mlpipe {' '.join(words)} failed:\n{done.stderr}")
    show()
    show(f"$ airflow mlpipe {' '.join(words)}")
    show(done.stdout)


def _reports(airflow: AirflowInstance, run_id: str) -> list[StepReport]:
    return [
        StepReport(
            step=task["task_id"],
            action=decision["action"],
            reason=decision["reason"],
            fingerprint=decision["fingerprint"],
            seconds=task["duration"] or 0.0,
            saved_seconds=decision["saved_seconds"] or 0.0,
        )
        for task in airflow.task_instances(DAG_ID, run_id)
        if (decision := _decision(airflow, run_id, task["task_id"]))
    ]


def _decision(airflow: AirflowInstance, run_id: str, task_id: str) -> Any:
    """The decision that the task published, None for a task that is no step."""
    try:
        return airflow.xcom(DAG_ID, run_id, task_id, "mlpipe_decision")
    except AirflowRequestError as error:
        if error.status == 404:
            return None
        raise


def _failures(airflow: AirflowInstance, run_id: str) -> str:
    logs = [
        f"{task['task_id']}:\n{airflow.log_text(DAG_ID, run_id, task['task_id'], task['try_number'])}"
        for task in airflow.task_instances(DAG_ID, run_id)
        if task["state"] == "failed"
    ]
    return "\n".join(logs)


def _edit(dags: Path) -> Path:
    """Change the edited step's script, in the demo's copy; returns the script."""
    scripts = sorted(dags.rglob(EDITED_SCRIPT))
    if len(scripts) != 1:
        raise BrokenClaimError(f"{dags} should hold one {EDITED_SCRIPT}, but holds {len(scripts)}")
    text = scripts[0].read_text("utf8")
    if text.count(BEFORE) != 1:
        raise BrokenClaimError(f"{scripts[0]} should say {BEFORE} once, not {text.count(BEFORE)} times")
    scripts[0].write_text(text.replace(BEFORE, AFTER), "utf8")
    return scripts[0]


def _downstream(airflow: AirflowInstance, task_id: str) -> frozenset[str]:
    """Every task after *task_id*, direct or not."""
    tasks = airflow.request("GET", f"/api/v2/dags/{DAG_ID}/tasks")["tasks"]
    following = {task["task_id"]: task["downstream_task_ids"] for task in tasks}
    found: set[str] = set()
    waiting = [task_id]
    while waiting:
        new = set(following[waiting.pop()]) - found
        found |= new
        waiting += new
    return frozenset(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo",
        description=f"Runs the DAG {DAG_ID} on a real Airflow: all steps run; then all are reused; then one "
        "script is edited, and exactly the affected steps run. Ends with exit code 1 if that was not so.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where everything is kept, emptied first (%(default)s)"
    )
    parser.add_argument(
        "--dags", type=Path, default=ROOT / "dags_examples", help="the DAGs folder to copy (dags_examples)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
