"""Edits of small projects, run for real: no result is taken for another, and no step reruns for nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.mutations.edits import Edit, edits_of
from tests.mutations.fingerprints import FINGERPRINTS
from tests.mutations.layouts import layouts
from tests.mutations.matrix import Case, GeneratorError, Verdict, judge, sample
from tests.mutations.project import Project, texts
from tests.mutations.woven import woven


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """More than a hundred edits: some of each kind, some in each layout; the benchmark makes thousands."""
    cases = sample([*layouts(), *map(woven, range(3))], of_each_kind=1, in_all=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__MLPIPE__CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))
        return judge(cases, tmp_path_factory.mktemp("matrix"), FINGERPRINTS)


def test_no_edit_that_changes_a_result_is_taken_for_none(verdicts: list[Verdict]) -> None:
    assert [str(verdict) for verdict in verdicts if verdict.is_stale("ours")] == []


def test_no_edit_that_cannot_change_a_result_makes_the_step_run(verdicts: list[Verdict]) -> None:
    assert [str(verdict) for verdict in verdicts if verdict.is_wasteful("ours")] == []


def test_the_matrix_has_edits_of_both_sorts_in_every_layout(verdicts: list[Verdict]) -> None:
    assert sum(verdict.changed for verdict in verdicts) > 40
    assert sum(verdict.edit.effect == "neutral" for verdict in verdicts) > 40
    assert {verdict.project for verdict in verdicts} >= {project.name for project in layouts()}


def test_a_fingerprint_of_the_script_alone_is_found_stale(verdicts: list[Verdict]) -> None:
    stale = {verdict.edit.kind for verdict in verdicts if verdict.is_stale("entry script alone")}
    assert {"a variable is changed", "a package is upgraded", "a module hides another"} <= stale


def test_a_fingerprint_of_every_byte_is_found_wasteful_and_stale(verdicts: list[Verdict]) -> None:
    wasteful = {verdict.edit.kind for verdict in verdicts if verdict.is_wasteful("whole folder")}
    assert {"a comment is added", "every file is touched", "everything is copied elsewhere"} <= wasteful
    assert any(verdict.is_stale("whole folder") for verdict in verdicts)


def test_an_edit_that_is_not_what_it_says_stops_the_matrix(tmp_path: Path) -> None:
    script = "import sys\nopen(sys.argv[1], 'w').write(open('train.py').read())\n"
    project = Project("writes itself, and nobody was told", texts({"src/train.py": script}))
    edits = [edit for edit in edits_of(project, random.Random(0)) if edit.kind == "a comment is added"]
    with pytest.raises(GeneratorError, match="a comment is added"):
        judge([Case(project, edits)], tmp_path, {}, settled_seconds=0)


def test_a_project_that_does_not_run_stops_the_matrix(tmp_path: Path) -> None:
    project = Project("broken", texts({"src/train.py": "raise SystemExit(1)\n"}))
    with pytest.raises(GeneratorError, match="broken: its step failed"):
        judge(
            [Case(project, [Edit("nothing is changed", "neutral", "", project)])],
            tmp_path,
            {},
            settled_seconds=0,
        )
