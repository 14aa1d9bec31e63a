"""The matrix: every edit of every project, what it does to the result, and who notices."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutations import truth
from tests.mutations.edits import Edit, edits_of
from tests.mutations.project import Project, copy_elsewhere

# Younger than this, no digest of a file is remembered; older, a look at its state has to be enough.
SETTLED_SECONDS = 2.1

Fingerprint = Callable[[Project, Path], str | None]
"""The fingerprint of a project laid below a folder; None is equal to nothing, not even to itself."""


@dataclass(frozen=True)
class Verdict:
    """What came of one edit: whether the result ``changed``, and by whose fingerprint the step ``reran``."""

    project: str
    edit: Edit
    changed: bool
    reran: Mapping[str, bool]

    def is_stale(self, name: str) -> bool:
        """Whether the old result would have been taken for the new one."""
        return self.changed and not self.reran[name]

    def is_wasteful(self, name: str) -> bool:
        """Whether the step reran after an edit after which it must not."""
        return self.edit.effect == "neutral" and self.reran[name]

    def __str__(self) -> str:
        return f"{self.project}: {self.edit.kind} ({self.edit.where})"


@dataclass(frozen=True)
class Case:
    """A project, and the edits that are each made to a copy of it."""

    project: Project
    edits: Sequence[Edit]


def sample(projects: Sequence[Project], *, of_each_kind: int, in_all: int, seed: int = 0) -> list[Case]:
    """Cases with at most *of_each_kind* edits of one kind in a project, and *in_all* of one kind in all."""
    chooser = random.Random(seed)
    by_kind: defaultdict[str, list[tuple[int, Edit]]] = defaultdict(list)
    for number, project in enumerate(projects):
        of_project: defaultdict[str, list[Edit]] = defaultdict(list)
        for edit in edits_of(project, chooser):
            of_project[edit.kind].append(edit)
        for kind, edits in of_project.items():
            chosen = chooser.sample(edits, min(of_each_kind, len(edits)))
            by_kind[kind] += [(number, edit) for edit in chosen]
    kept: defaultdict[int, list[Edit]] = defaultdict(list)
    for found in by_kind.values():
        for number, edit in chooser.sample(found, min(in_all, len(found))):
            kept[number].append(edit)
    return [Case(projects[number], edits) for number, edits in sorted(kept.items())]


class GeneratorError(AssertionError):
    """The matrix itself is wrong: a project that does not run, or an edit that is not what it says."""


def judge(
    cases: Sequence[Case],
    folder: Path,
    fingerprints: Mapping[str, Fingerprint],
    *,
    settled_seconds: float = SETTLED_SECONDS,
) -> list[Verdict]:
    """Make each edit to a copy of its project below *folder*, and run the step before and after.

    The copies lie still for *settled_seconds*, until what is remembered of them is trusted, so that an
    edit has to be noticed by a memory that knows the state before. Raises GeneratorError for a project
    that fails or is not determined, and for an edit that changes the result and says that it cannot.
    """
    trials = [
        _Trial(case.project, edit, folder / str(number) / str(index))
        for number, case in enumerate(cases)
        for index, edit in enumerate(case.edits)
    ]
    for trial in trials:
        trial.project.lay(trial.place)
    laid_at = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bases = {trial.project.name: trial for trial in trials}
        runs = {name: pool.submit(truth.result, base.project, base.place) for name, base in bases.items()}
        results = {name: run.result() for name, run in runs.items()}
        time.sleep(max(0.0, settled_seconds - (time.monotonic() - laid_at)))
        before = [trial.fingerprints(fingerprints) for trial in trials]
        _check_bases(results, trials, before)
        for trial in trials:
            trial.make_edit()
        ends = [pool.submit(truth.result, trial.edit.after, trial.place) for trial in trials]
        after = [trial.fingerprints(fingerprints) for trial in trials]
        changed = [
            end.result() != results[trial.project.name] for trial, end in zip(trials, ends, strict=True)
        ]
    verdicts = [
        Verdict(trial.project.name, trial.edit, has_changed, _reran(old, new))
        for trial, has_changed, old, new in zip(trials, changed, before, after, strict=True)
    ]
    if wrong := [str(item) for item in verdicts if item.changed and item.edit.effect != "semantic"]:
        raise GeneratorError(f"these edits change the result: {wrong}")
    return verdicts


def counts(verdicts: Sequence[Verdict], name: str) -> dict[str, dict[str, int]]:
    """For each kind of edit, in the eyes of the fingerprint *name*: how many, and what came of them.

    ``cautious`` reruns followed an edit that turned out to change nothing, though one of its kind may, or
    that the documentation names as one that is not told apart.
    """
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        row = table[verdict.edit.kind]
        stale, wasteful = verdict.is_stale(name), verdict.is_wasteful(name)
        cautious = verdict.reran[name] and not verdict.changed and not wasteful
        row.update(
            edits=1, changed_the_result=verdict.changed, stale=stale, wasteful=wasteful, cautious=cautious
        )
    return {kind: dict(table[kind]) for kind in sorted(table)}


@dataclass
class _Trial:
    """One edit, and where the copy of the project lies that it is made to."""

    project: Project
    edit: Edit
    place: Path
    is_edited: bool = False

    def fingerprints(self, kinds: Mapping[str, Fingerprint]) -> dict[str, str | None]:
        """All fingerprints of what lies there now."""
        project = self.edit.after if self.is_edited else self.project
        return {name: take(project, self.place) for name, take in kinds.items()}

    def make_edit(self) -> None:
        """Change the copy; ``place`` is where it lies afterwards."""
        self.is_edited = True
        manner = self.edit.manner
        self.project.change_into(self.edit.after, self.place, keep_times=manner == "keep times")
        if manner == "move":
            self.place = copy_elsewhere(self.place)
        elif manner == "touch":
            for path in _files_below(self.place):
                os.utime(path)
        elif manner == "replace":
            for path in _files_below(self.place):
                _replace(path)


def _check_bases(
    results: Mapping[str, bytes], trials: Sequence[_Trial], before: Sequence[Mapping[str, str | None]]
) -> None:
    for name, result in results.items():
        if not result.startswith(b"made "):
            raise GeneratorError(f"{name}: its step {result.decode()}")
    for trial, fingerprints in zip(trials, before, strict=True):
        if None in fingerprints.values():
            raise GeneratorError(f"{trial.project.name}: its fingerprint is not determined")


def _reran(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> dict[str, bool]:
    return {name: new[name] is None or new[name] != old[name] for name in old}


def _files_below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _replace(path: Path) -> None:
    """Put an equal file in the place of *path*, as many editors do."""
    equal = path.with_name(f"{path.name}.equal")
    equal.write_bytes(path.read_bytes())
    equal.chmod(path.stat().st_mode)
    equal.replace(path)
