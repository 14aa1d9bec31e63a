"""``run.parent.get_children()``: what earlier steps logged."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import EarlierRun, EarlierRuns, to_json
from airflow_mlpipe.runtime import Run
from airflow_mlpipe.runtime.refused import UnsupportedError


@pytest.fixture
def run(attempt: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MLPIPE_SPEC", str(attempt.write(attempt.spec("true"))))
    return Run.get_context()


def tell(attempt: Any, *runs: EarlierRun) -> None:
    (attempt.directory / "children.json").write_text(to_json(EarlierRuns(list(runs))))


FIRST = EarlierRun("a-1", "train_a", -1, "Completed", 1.0, {"auc": 0.8, "loss": [2, 1]}, {"kind": "a"})
SECOND = EarlierRun("b-1", "train_b", -1, "Failed", 2.0, tags={"kind": "b", "odd": ""})


def test_the_latest_run_comes_first_with_what_it_logged(run: Run, attempt: Any) -> None:
    tell(attempt, FIRST, SECOND)
    later, earlier = run.parent.get_children()
    assert (later.name, later.id, later.get_status(), later.get_metrics()) == (
        "train_b", "b-1", "Failed", {}
    )  # fmt: skip
    assert (earlier.name, earlier.status, earlier.get_tags()) == ("train_a", "Completed", {"kind": "a"})
    assert earlier.get_metrics() == {"auc": 0.8, "loss": [2, 1]}
    assert earlier.get_metrics("auc") == {"auc": 0.8}
    assert earlier.wait_for_completion(show_output=True)["runId"] == "a-1"


def test_runs_are_chosen_by_tags_and_status(run: Run, attempt: Any) -> None:
    tell(attempt, FIRST, SECOND)
    names = {
        "kind": [child.name for child in run.parent.get_children(tags="kind")],
        "odd": [child.name for child in run.parent.get_children(tags="odd")],
        "a": [child.name for child in run.parent.get_children(tags={"kind": "a"})],
        "done": [child.name for child in run.parent.get_children(status="Completed")],
    }
    assert names == {
        "kind": ["train_b", "train_a"], "odd": ["train_b"], "a": ["train_a"], "done": ["train_a"]
    }  # fmt: skip


def test_a_run_that_has_ended_cannot_be_told_anything(run: Run, attempt: Any) -> None:
    tell(attempt, FIRST)
    (child,) = run.parent.get_children()
    assert not hasattr(child, "log")
    with pytest.raises(UnsupportedError, match=r"ChildRun.log_row .* stays as it is"):
        child.log_row("roc", a=1)


def test_a_run_that_had_not_ended_is_not_waited_for(run: Run, attempt: Any) -> None:
    tell(attempt, EarlierRun("", "slow", -1, "Running", 1.0))
    (child,) = run.parent.get_children()
    with pytest.raises(UserError, match="'slow' had not ended when this step started"):
        child.wait_for_completion()


def test_a_step_that_nobody_told_of_others_says_what_to_write(run: Run) -> None:
    with pytest.raises(UserError, match="nothing in the step's own code says get_children"):
        run.parent.get_children()


def test_outside_a_pipeline_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPIPE_SPEC", raising=False)
    assert list(Run.get_context().parent.get_children()) == []
