"""Judge many edits of small projects and write what came of them as JSON.

Run as ``python -m benchmarks.mutation_probe FOLDER WOVEN OF_EACH_KIND``, with Airflow's home in the
environment. Every layout takes part, and WOVEN projects woven at random; OF_EACH_KIND bounds the edits of
one kind in one project. The document is ``FOLDER/verdicts.json``, for Airflow logs to standard output.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutations.fingerprints import FINGERPRINTS
from tests.mutations.layouts import layouts
from tests.mutations.matrix import Verdict, counts, judge, sample
from tests.mutations.woven import woven

BATCH = 5  # projects whose copies lie on the disk at a time


@dataclass(frozen=True)
class Score:
    """What a fingerprint made of all edits; ``kinds`` is :func:`tests.mutations.matrix.counts`."""

    stale: list[str]
    wasteful: list[str]
    cautious: int
    kinds: dict[str, dict[str, int]]

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], name: str) -> Score:
        kinds = counts(verdicts, name)
        return cls(
            stale=[str(verdict) for verdict in verdicts if verdict.is_stale(name)],
            wasteful=[str(verdict) for verdict in verdicts if verdict.is_wasteful(name)],
            cautious=sum(row["cautious"] for row in kinds.values()),
            kinds=kinds,
        )


def main(folder: Path, woven_projects: int, of_each_kind: int) -> None:
    """Judge, batch by batch."""
    projects = [*layouts(), *map(woven, range(woven_projects))]
    cases = sample(projects, of_each_kind=of_each_kind, in_all=sys.maxsize)
    verdicts: list[Verdict] = []
    for start in range(0, len(cases), BATCH):
        verdicts += judge(cases[start : start + BATCH], folder / "projects", FINGERPRINTS)
        shutil.rmtree(folder / "projects")
    document = {
        "projects": len(projects),
        "edits": len(verdicts),
        "changed_the_result": sum(verdict.changed for verdict in verdicts),
        "scores": {name: asdict(Score.of(verdicts, name)) for name in FINGERPRINTS},
    }
    (folder / "verdicts.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
