from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.demo import BrokenClaimError, StepReport, check_all, check_edit, main, table

AFTER_TRAIN = frozenset({"evaluate", "register"})


def report(step: str, action: str = "reused", fingerprint: str = "old", reason: str = "why") -> StepReport:
    return StepReport(step, action, reason, fingerprint, seconds=1.25, saved_seconds=40.0)


BEFORE = [report(step) for step in ("prepare", "train", "evaluate", "register")]


def after(**ran: str) -> list[StepReport]:
    """The reports of BEFORE, where the steps of *ran* ran with these fingerprints."""
    return [
        replace(one, action="ran", fingerprint=ran[one.step]) if one.step in ran else one for one in BEFORE
    ]


def test_a_run_in_which_one_step_did_something_else_breaks_the_claim_and_says_why() -> None:
    with pytest.raises(BrokenClaimError, match=r"second run .*train ran: the weather"):
        check_all([report("prepare"), report("train", "ran", reason="the weather")], "reused", "second")


def test_a_run_without_any_report_breaks_the_claim() -> None:
    with pytest.raises(BrokenClaimError, match="no step"):
        check_all([], "reused", "second")


def test_the_edited_step_and_the_steps_that_its_outputs_change_may_run() -> None:
    check_edit(BEFORE, after(train="new", evaluate="new"), "train", AFTER_TRAIN)


def test_a_step_after_the_edited_one_is_reused_when_its_inputs_came_out_the_same() -> None:
    check_edit(BEFORE, after(train="new"), "train", AFTER_TRAIN)


def test_an_edit_that_runs_nothing_breaks_the_claim() -> None:
    with pytest.raises(BrokenClaimError, match="train was edited and should have run"):
        check_edit(BEFORE, BEFORE, "train", AFTER_TRAIN)


def test_a_step_that_ran_before_the_edited_one_breaks_the_claim() -> None:
    with pytest.raises(BrokenClaimError, match=r"\['prepare'\] ran"):
        check_edit(BEFORE, after(prepare="new", train="new"), "train", AFTER_TRAIN)


def test_a_step_that_ran_with_its_old_fingerprint_breaks_the_claim() -> None:
    with pytest.raises(BrokenClaimError, match="new fingerprint"):
        check_edit(BEFORE, after(train="new", evaluate="old"), "train", AFTER_TRAIN)


def test_a_folder_that_the_demo_did_not_make_is_refused_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").touch()

    assert main(["--folder", str(tmp_path)]) == 1

    assert (tmp_path / "precious").exists()
    assert "was not made by the demo" in capsys.readouterr().out


def test_the_table_keeps_its_width_and_breaks_long_reasons_under_their_column() -> None:
    lines = table([report("train", reason="a reason of many words " * 9)], width=80).splitlines()

    assert max(map(len, lines)) == 80
    assert len(lines) > 4
    assert {len(line) - len(line.lstrip()) for line in lines[3:]} == {lines[0].index("reason")}
