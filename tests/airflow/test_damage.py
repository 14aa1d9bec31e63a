"""Stored outputs that are not what they were: a miss that is told, and that heals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles, RunOutcome, rewrite

pytestmark = pytest.mark.airflow


@pytest.fixture
def made(dags: DagFiles) -> DagFiles:
    """One step with a folder of two files."""
    dags.script(
        "make.py",
        """
        import sys
        for name in ("a.txt", "b.txt"):
            open(sys.argv[1] + "/" + name, "w").write("the bytes of " + name)
    """,
    )
    dags.dag('step("make", OutputFileDatasetConfig("made"))')
    return dags


def writable(path: Path) -> Path:
    path.chmod(0o755 if path.is_dir() else 0o644)
    return path


def delete_all(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_one(folder: Path) -> None:
    (folder / "a.txt").unlink()


def truncate(folder: Path) -> None:
    writable(folder / "a.txt").write_text("the")


def add(folder: Path) -> None:
    (folder / "c.txt").write_text("foreign")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (delete_all, "is missing"),
        (delete_one, "output 'made': a.txt is missing"),
        (truncate, "output 'made': a.txt has 3 bytes instead of 18"),
        (add, "output 'made': c.txt is not part of it"),
    ],
)
def test_damaged_outputs_are_made_anew(made: DagFiles, damage: Callable[[Path], None], problem: str) -> None:
    first = made.run()
    damage(made.attempt_path(first, "make") / "outputs/made")
    heals(made, first, problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be used"),
        ("", "cannot be used"),
        ('{"schema_version": 2}', "its schema_version is 2, and this version of airflow_mlpipe reads 1"),
        ("null", "cannot be used"),
    ],
)
def test_an_unreadable_manifest_is_replaced(made: DagFiles, text: str, problem: str) -> None:
    first = made.run()
    rewrite(made.manifest_path(first, "make"), text)
    heals(made, first, problem)


@pytest.mark.parametrize("level", ["auto", "digest"])
def test_a_flipped_byte_is_seen_unless_only_sizes_are_verified(
    made: DagFiles, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    first = made.run()
    rewrite(made.attempt_path(first, "make") / "outputs/made/a.txt", "the bytes of a.tXt")
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "size")
    assert made.run().actions == {"make": "reused"}
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", level)
    heals(made, first, "output 'made': a.txt has SHA-256 ")


def test_outputs_whose_manifest_was_removed_are_told_as_gone(made: DagFiles) -> None:
    first = made.run()
    made.manifest_path(first, "make").unlink()
    run = made.run()
    assert run.actions == {"make": "ran"}
    assert made.run().actions == {"make": "reused"}


def test_an_emptied_datastore_is_a_first_run(made: DagFiles) -> None:
    made.run()
    shutil.rmtree(made.store)
    assert made.run().decision("make")["kinds"] == ["first"]


def heals(made: DagFiles, first: RunOutcome, problem: str) -> None:
    """The next run says what is wrong and makes the outputs again; the one after reuses them."""
    run = made.run()
    assert run.state == "success", run.text
    assert run.decision("make")["kinds"][0] == "unusable"
    assert problem in run.decision("make")["reason"]
    assert run.returned("make")["made"].digest == first.returned("make")["made"].digest
    assert (run.path("make", "made") / "a.txt").read_text() == "the bytes of a.txt"
    later = made.run()
    assert later.actions == {"make": "reused"}
    assert later.returned("make") == run.returned("make")
