"""Reuse after thousands of edits: stale results and wasteful reruns, ours beside two blunt fingerprints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Comparison, Report
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent


def measure(folder: Path, *, woven_projects: int, of_each_kind: int) -> Report:
    """Make the edits; see :mod:`tests.mutations.matrix` for how they are judged, *folder* for their log."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        document = _judged(Path(place), folder / "log.txt", woven_projects, of_each_kind)
    scores = document["scores"]
    mine = scores.pop("ours")
    say(f"judged {document['edits']} edits; {document['changed_the_result']} of them changed a result")
    for sentence in [*mine["stale"], *mine["wasteful"]]:
        say(f"wrong: {sentence}")
    return Report(
        name="mutations",
        settings={"woven_projects": woven_projects, "of_each_kind": of_each_kind},
        comparisons=[
            _comparison("stale reuses", "stale", mine, scores, "entry script alone"),
            _comparison("stale reuses", "stale", mine, scores, "whole folder"),
            _comparison("wasteful reruns", "wasteful", mine, scores, "entry script alone"),
            _comparison("wasteful reruns", "wasteful", mine, scores, "whole folder"),
        ],
        details={
            **{name: document[name] for name in ("projects", "edits", "changed_the_result")},
            "stale": mine["stale"],
            "wasteful": mine["wasteful"],
            "cautious": mine["cautious"],
            "kinds": mine["kinds"],
        },
    )


def _comparison(
    name: str, what: str, mine: dict[str, Any], scores: dict[str, Any], baseline: str
) -> Comparison:
    """Counts of edits; nothing is aimed at but none. A baseline without any would show a blind matrix."""
    theirs = len(scores[baseline][what])
    if theirs == 0:
        raise RuntimeError(f"the matrix finds no {name} of {baseline!r}, so it finds nothing")
    return Comparison(name, baseline, "edits", [len(mine[what])], [theirs], 0.0)


def _judged(folder: Path, log: Path, woven_projects: int, of_each_kind: int) -> dict[str, Any]:
    home = folder / "airflow"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    with log.open("wb") as stream:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.mutation_probe",
                folder,
                str(woven_projects),
                str(of_each_kind),
            ],
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"the edits could not be judged; the reason is in {log}")
    document: dict[str, Any] = json.loads((folder / "verdicts.json").read_text())
    return document
