"""``airflow mlpipe invalidate``: by fingerprint, step, DAG, task or age, and never everything by accident."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key, output_key

ONE, TWO, THREE = "a1" * 32, "b2" * 32, "c3" * 32


@pytest.fixture
def three(steps: Any) -> Any:
    """Two steps of train, one of score."""
    steps.sealed("r1", "train", ONE)
    steps.sealed("r2", "train", TWO)
    steps.sealed("r2", "score", THREE)
    return steps


def selected(answer: Any) -> set[str]:
    return {item["fingerprint"] for item in answer.json["outputs"]}


def test_nothing_selected_is_a_usage_error_and_never_everything(
    airflow_mlpipe: Any, three: Any, store: Datastore
) -> None:
    answer = airflow_mlpipe("invalidate", "--yes")
    assert (answer.code, answer.out) == (2, "")
    assert "say which outputs" in answer.err
    assert all(store.exists(manifest_key(name)) for name in (ONE, TWO, THREE))


def test_a_reason_that_cannot_be_kept_is_a_usage_error(
    airflow_mlpipe: Any, three: Any, store: Datastore
) -> None:
    answer = airflow_mlpipe("invalidate", ONE, "--reason", "bad \udcff", "--yes")
    assert answer.code == 2
    assert "not valid UTF-8" in answer.err
    assert store.exists(manifest_key(ONE))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((ONE,), {ONE}),
        ((ONE[:8], "retrain/r2/score"), {ONE, THREE}),
        (("retrain/r1/train", ONE), {ONE}),
        (("--dag", "retrain"), {ONE, TWO, THREE}),
        (("--dag", "retrain", "--task", "score"), {THREE}),
        (("--task", "train"), {ONE, TWO}),
        (("--older-than", "1 d"), {ONE, TWO, THREE}),
        (("--older-than", "1 d", "retrain/r2/train"), {TWO}),
    ],
)
def test_outputs_are_selected_by_all_that_is_said(
    airflow_mlpipe: Any, three: Any, words: tuple[str, ...], expected: set[str]
) -> None:
    assert selected(airflow_mlpipe("invalidate", *words, "-o", "json")) == expected


@pytest.mark.parametrize("words", [("--dag", "other"), ("--older-than", "100000 d"), ("--task", "nothing")])
def test_a_selection_that_is_empty_is_an_error(
    airflow_mlpipe: Any, three: Any, words: tuple[str, ...]
) -> None:
    answer = airflow_mlpipe("invalidate", *words, "--yes")
    assert answer.code == 1
    assert "nothing was done" in answer.err


def test_a_dag_that_only_reused_outputs_can_have_them_invalidated(airflow_mlpipe: Any, three: Any) -> None:
    three.recorded("s1", "fit", ONE, dag_id="weekly", action="reused")
    assert selected(airflow_mlpipe("invalidate", "--dag", "weekly", "-o", "json")) == {ONE}
    assert selected(airflow_mlpipe("invalidate", "--dag", "weekly", "--task", "fit", "-o", "json")) == {ONE}
    assert airflow_mlpipe("invalidate", "--dag", "weekly", "--task", "score").code == 1


def test_a_dry_run_tells_who_made_them_when_and_at_what_cost(
    airflow_mlpipe: Any, three: Any, store: Datastore
) -> None:
    answer = airflow_mlpipe("invalidate", "--task", "train")
    assert answer.code == 0
    first, _, total, last = answer.out.splitlines()
    assert first.startswith(f"{ONE[:12]}  made by retrain/r1/train ")
    assert first.endswith(" ago in 1 min")
    assert total == "2 outputs, which took 2 min to make, would be invalidated."
    assert last == "Nothing was done; --yes invalidates them."
    assert store.exists(manifest_key(ONE))


def test_a_yes_withdraws_the_manifests_and_keeps_the_reason_and_the_data(
    airflow_mlpipe: Any, three: Any, store: Datastore
) -> None:
    answer = airflow_mlpipe("invalidate", "retrain/r1/train", "--reason", "labels were wrong", "--yes")
    assert answer.code == 0
    assert answer.err.startswith(f"withdrew {ONE[:12]}  made by retrain/r1/train")
    assert answer.out == "1 outputs invalidated; their steps run again when they are next needed.\n"
    assert not store.exists(manifest_key(ONE))
    assert store.exists(manifest_key(TWO))
    said = Invalidations(store).current(ONE)
    assert said is not None
    assert (said.by, said.reason) == (getpass.getuser(), "labels were wrong")
    assert store.exists(output_key("train-1", "model"))


def test_an_unreadable_manifest_can_be_withdrawn_by_its_fingerprint_only(
    airflow_mlpipe: Any, three: Any, store: Datastore
) -> None:
    store.write(manifest_key(ONE), b"{")
    assert ONE not in selected(airflow_mlpipe("invalidate", "--dag", "retrain", "-o", "json"))
    assert selected(airflow_mlpipe("invalidate", ONE, "-o", "json")) == {ONE}
    assert "cannot be read" in airflow_mlpipe("invalidate", ONE).out
    airflow_mlpipe("invalidate", ONE, "--yes")
    assert not store.exists(manifest_key(ONE))


def test_outputs_of_a_store_that_is_only_read_are_refused(
    airflow_mlpipe: Any, three: Any, store: Datastore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_DATASTORES", store.url)
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", str(tmp_path / "own"))
    answer = airflow_mlpipe("invalidate", ONE, "--yes")
    assert answer.code == 1
    assert "which this deployment only reads" in answer.err
    assert store.exists(manifest_key(ONE))
