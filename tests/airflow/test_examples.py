"""The example DAGs: they run, run again with every step reused, and after an edit run what they must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from airflow_mlpipe import LocalTarget
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
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


@pytest.mark.slow  # "make demo" runs it on a whole Airflow
def test_the_retraining_runs_and_runs_again_with_every_step_reused(examples: DagFiles) -> None:
    first = runs_and_is_reused(examples, "retrain_digits")
    assert (first.path("register", "registered") / "card.json").exists()


def test_the_retraining_in_functions_runs_and_runs_again_with_every_step_reused(examples: DagFiles) -> None:
    first = runs_and_is_reused(examples, "retrain_digits_taskflow")
    accuracy = first.xcoms["evaluate"]["accuracy"]
    card = json.loads((first.returned("register").path() / "card.json").read_text())
    assert card["test_accuracy"] == max(accuracy.values()) > 0.95


@pytest.mark.slow  # test_functions.py has such edits of functions that learn nothing
def test_the_retraining_in_functions_runs_again_what_an_edit_reaches_and_what_follows(
    examples: DagFiles,
) -> None:
    name = "retrain_digits_taskflow"
    run_example(examples, name)
    edit(examples, name, "hidden_layer_sizes=(32,)", "hidden_layer_sizes=(24,)")
    assert ran(run_example(examples, name)) == {"train_network", "evaluate", "register"}
    edit(examples, name, "drop(columns=DIGIT)", "drop(columns=[DIGIT])")
    # They all call what was edited, and hand on what they did before.
    assert ran(run_example(examples, name)) == {"train_logistic", "train_network", "evaluate"}


def test_the_shards_are_scored_one_by_one_and_again_where_the_data_changed(examples: DagFiles) -> None:
    first = runs_and_is_reused(examples, "score_shards")
    assert first.returned("collect") == {"scored": 80, "doubtful": ANY, "missing": []}
    assert sum(key.startswith("score[") for key in first.actions) == 4

    flowers = examples.folder / "introduction" / "data" / "iris.csv"
    sound = flowers.read_text()
    lines = sound.splitlines(keepends=True)
    lines[62] = "wet," + lines[62].partition(",")[2]  # a flower of the third shard
    flowers.write_text("".join(lines))
    broken = run_example(examples, "score_shards")
    assert ran(broken) == {"split", "collect"}
    assert broken.states["score[2]"] == "failed"
    assert broken.returned("collect")["missing"] == [2]
    assert collected(broken) == ["0000", "0001", "0003"]

    flowers.write_text(sound)
    larger = run_example(examples, "score_shards", arrived=100)
    assert ran(larger) == {"split", "score[4]", "collect"}
    assert larger.returned("collect") == {"scored": 100, "doubtful": ANY, "missing": []}


def test_new_flowers_are_learnt_from_and_files_written_again_are_not(examples: DagFiles) -> None:
    lines = (examples.folder / "introduction/data/iris.csv").read_text().splitlines(keepends=True)
    incoming = examples.store / "incoming/flowers"
    incoming.mkdir(parents=True)
    (incoming / "monday.csv").write_text("".join([lines[0], *lines[1::2]]))
    runs_and_is_reused(examples, "retrain_on_new_data")

    (incoming / "tuesday.csv").write_text("".join([lines[0], *lines[2::2]]))
    (incoming / "monday.csv").touch()
    larger = run_example(examples, "retrain_on_new_data")
    assert ran(larger) == {"check[1]", "train", "evaluate"}
    assert larger.returned("evaluate")["flowers"] == 150


def test_unmodified_scripts_of_v1_train_compare_and_register_once(examples: DagFiles) -> None:
    first, second = run_example(examples, "v1_unmodified"), run_example(examples, "v1_unmodified")
    assert first.state == second.state == "success", first.text
    assert second.actions == {"train_petal": "reused", "train_sepal": "reused", "register_best": "ran"}
    accuracy = second.returned("train_petal")["metrics"]["accuracy"]
    assert second.returned("register_best")["metrics"] == {"accuracy": accuracy}
    versions = sorted((examples.store / "mlpipe/v1/models/flowers").glob("*.json"))
    assert [path.name for path in versions] == ["00000001.json"]
    registered = json.loads(versions[0].read_text())
    assert registered["tags"] == {"columns": "petal"}
    assert registered["properties"] == {"accuracy": str(accuracy)}


def test_the_training_for_a_gpu_pool_runs_wholly_locally(
    examples: DagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = examples.folder / "gpu_pool" / "wholly_local.yaml"
    monkeypatch.setenv("AIRFLOW__MLPIPE__COMPUTE_TARGETS", str(targets))
    first = runs_and_is_reused(examples, "train_on_gpu_pool")
    assert first.returned("train")["metrics"]["test_accuracy"] > 0.9
    assert ran(run_example(examples, "train_on_gpu_pool", rate=0.2)) == {"train"}


def test_both_files_of_compute_targets_say_what_the_training_for_a_gpu_pool_names() -> None:
    local, kubernetes = (
        parse_targets((EXAMPLES / "gpu_pool" / name).read_text("utf8"), name)
        for name in ("wholly_local.yaml", "on_kubernetes.yaml")
    )
    assert local.keys() == kubernetes.keys() == {"local", "cpu_nodes", "gpu_pool"}
    assert all(isinstance(target, LocalTarget) for target in local.values())
    assert isinstance(kubernetes["gpu_pool"], KubernetesTarget)
    assert kubernetes["gpu_pool"].gpus == 1


def test_every_example_is_run_by_a_test() -> None:
    tested = {
        "train_on_gpu_pool",
        "v1_unmodified",
        "v1_introduction",
        "retrain_digits",
        "retrain_digits_taskflow",
        "score_shards",
        "retrain_on_new_data",
    }
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def run_example(examples: DagFiles, name: str, **conf: Any) -> RunOutcome:
    return examples.run_file(examples.folder / f"{name}.py", name, **conf)


def edit(examples: DagFiles, name: str, old: str, new: str) -> None:
    path = examples.folder / f"{name}.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def ran(outcome: RunOutcome) -> set[str]:
    return {key for key, action in outcome.actions.items() if action == "ran"}


def collected(outcome: RunOutcome) -> list[str]:
    return sorted(path.name for path in outcome.xcoms["collect"]["collected"].path().iterdir())


def runs_and_is_reused(examples: DagFiles, name: str) -> RunOutcome:
    first, second = run_example(examples, name), run_example(examples, name)
    assert first.state == second.state == "success", first.text
    assert set(first.actions.values()) == {"ran"}
    assert set(second.actions.values()) == {"reused"}
    assert {key: second.returned(key) for key in second.actions} == {
        key: first.returned(key) for key in first.actions
    }
    return first
