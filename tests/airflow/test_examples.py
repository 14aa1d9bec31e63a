"""The example DAGs: they run, and run again with every step reused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).parents[2] / "dags_examples"


@pytest.fixture
def examples(dags: DagFiles) -> DagFiles:
    shutil.copytree(EXAMPLES, dags.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return dags


def test_the_introduction_runs_and_runs_again_with_every_step_reused(examples: DagFiles) -> None:
    first = runs_and_is_reused(examples, "v1_introduction")
    assert first.returned("score_model")["metrics"]


def test_the_retraining_runs_and_runs_again_with_every_step_reused(examples: DagFiles) -> None:
    first = runs_and_is_reused(examples, "retrain_digits")
    assert (first.path("register", "registered") / "card.json").exists()


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"v1_introduction", "retrain_digits"}


def runs_and_is_reused(examples: DagFiles, name: str) -> RunOutcome:
    path = examples.folder / f"{name}.py"
    first, second = examples.run_file(path, name), examples.run_file(path, name)
    assert first.state == second.state == "success", first.text
    assert set(first.actions.values()) == {"ran"}
    assert set(second.actions.values()) == {"reused"}
    assert {key: second.returned(key) for key in second.actions} == {
        key: first.returned(key) for key in first.actions
    }
    return first
