"""``airflow mlpipe runs``, ``show`` and ``outputs``."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.cli.cli_parser import get_parser

from airflow_mlpipe.runtime.artifacts.artifact import DESCRIPTOR
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import ManifestCompute
from airflow_mlpipe.store.run_record import RecordedReason

OTHER = "ac" * 32


def test_runs_lists_the_newest_first(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed("r1")
    steps.recorded("r2", "train", OTHER, status="failed", decided_at=2_000.0)
    listed = airflow_mlpipe("runs", "retrain")
    assert listed.code == 0
    lines = [line for line in listed.out.splitlines() if "train" in line]
    assert "r2" in lines[0]
    assert "failed" in lines[0]
    assert "argument --lr 0.1 -> 0.2" in lines[0]
    assert "r1" in lines[1]
    assert "abababababab" in lines[1]


def test_runs_as_json_holds_the_whole_records(airflow_mlpipe: Any, steps: Any) -> None:
    record = steps.recorded("r1", "train", OTHER)
    assert airflow_mlpipe("runs", "retrain", "-o", "json").json == [record.model_dump(mode="json")]


def test_runs_keeps_to_the_task_and_the_limit(airflow_mlpipe: Any, steps: Any) -> None:
    for number in range(3):
        steps.recorded(f"r{number}", "train", OTHER, decided_at=float(number))
    steps.recorded("r9", "prepare", OTHER, decided_at=9.0)
    found = airflow_mlpipe("runs", "retrain", "train", "--limit", "2", "-o", "json").json
    assert [record["run_id"] for record in found] == ["r2", "r1"]
    assert len(airflow_mlpipe("runs", "retrain", "--limit", "0", "-o", "json").json) == 4


def test_runs_sums_up_each_run_that_it_lists(airflow_mlpipe: Any, steps: Any) -> None:
    steps.recorded("r1", "prepare", OTHER, seconds=60.0, decided_at=1.0)
    steps.recorded(
        "r2", "prepare", OTHER, action="reused", saved_seconds=60.0, saved_cost=0.5, decided_at=2.0
    )
    steps.recorded("r2", "train", OTHER, seconds=7200.0, cost=6.0, lost_seconds=60.0, decided_at=3.0)
    listed = airflow_mlpipe("runs", "retrain").out
    assert "6.00" in next(line for line in listed.splitlines() if "| train" in line)
    assert listed.splitlines()[-2:] == [
        "r2: ran for 2 h and 6.00 of compute, saved 1 min and 0.50 of compute, lost 1 min to infrastructure",
        "r1: ran for 1 min",
    ]
    # A run of which only some rows are shown is summed up as a whole.
    assert airflow_mlpipe("runs", "retrain", "--limit", "1").out.splitlines()[-1] == listed.splitlines()[-2]


@pytest.mark.parametrize("limit", ["-1", "all"])
def test_a_limit_that_is_no_number_of_runs_is_a_usage_error(
    airflow_mlpipe: Any, steps: Any, limit: str
) -> None:
    steps.sealed()
    answer = airflow_mlpipe("runs", "retrain", "--limit", limit)
    assert answer.code == 2
    assert "--limit" in answer.err


def test_what_a_terminal_would_obey_is_shown_as_text(airflow_mlpipe: Any, steps: Any) -> None:
    steps.recorded("r1", "train", OTHER, reasons=(RecordedReason(kind="changed", text="to \x1b[31mred"),))
    for command in (("runs", "retrain"), ("show", "retrain/r1/train")):
        assert "to \\x1b[31mred" in airflow_mlpipe(*command).out


@pytest.mark.parametrize("output", ["json", "yaml", "table"])
def test_a_terminal_without_unicode_gets_results_all_the_same(
    store: Datastore, steps: Any, tmp_path: Path, output: str
) -> None:
    steps.recorded("r1", "trän\u4e2d", OTHER)
    shown = tmp_path / "shown"
    with shown.open("w", encoding="ascii") as terminal, redirect_stdout(terminal):
        args = get_parser().parse_args(["mlpipe", "runs", "retrain", "-o", output])
        args.func(args)
    if output == "table":
        assert "tr\\xe4n" in shown.read_text("ascii")
    else:
        assert yaml.safe_load(shown.read_text("ascii"))[0]["task_id"] == "trän\u4e2d"


def test_airflows_log_is_kept_from_the_results(store: Datastore, steps: Any, tmp_path: Path) -> None:
    """Airflow tells in its log that no database answers when it is asked for the key."""
    steps.sealed()
    airflow = str(Path(sys.executable).with_name("airflow"))
    variables = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/empty.db",
        "AIRFLOW__MLPIPE__SIGNING_KEY": "variable:no_such_key",
    }
    done = subprocess.run(
        [airflow, "mlpipe", "show", "abababab", "-o", "json"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Unable to retrieve variable" in done.stderr
    assert (done.returncode, done.stdout) == (1, "")


def test_runs_tells_of_the_instances_of_a_mapped_step_in_one_row(airflow_mlpipe: Any, steps: Any) -> None:
    for index in range(4):
        action = "ran" if index == 2 else "reused"
        why = "parameter shard b -> x" if index == 2 else f"outputs of retrain/r0/score[{index}]"
        reasons = (RecordedReason(kind="changed", text=why),)
        steps.recorded("r1", "score", OTHER, map_index=index, action=action, reasons=reasons)
    listed = airflow_mlpipe("runs", "retrain", "--limit", "1").out
    assert "score[0..3]" in listed
    assert "3 reused, 1 ran" in listed
    assert len(airflow_mlpipe("runs", "retrain", "-o", "json").json) == 4


def test_explain_sums_up_the_instances_of_a_mapped_step(airflow_mlpipe: Any, steps: Any) -> None:
    for index in range(9):
        action = "ran" if index in (2, 7) else "reused"
        why = "parameter lr 0.1 -> 0.2" if index in (2, 7) else f"outputs of retrain/r0/score[{index}]"
        reasons = (RecordedReason(kind="changed", text=why),)
        steps.recorded("r1", "score", OTHER, map_index=index, action=action, reasons=reasons)
    assert airflow_mlpipe("explain", "retrain", "r1", "score").out.splitlines() == [
        "retrain/r1/score: 7 reused, 2 ran",
        "",
        "[2], [7]: ran: parameter lr 0.1 -> 0.2",
        "[0..1], [3..6], [8], the first: reused outputs of retrain/r0/score[0]",
    ]
    document = airflow_mlpipe("explain", "retrain", "r1", "score", "-o", "json").json
    assert document["counts"] == {"reused": 7, "ran": 2}
    assert [one["map_index"] for one in document["instances"]] == list(range(9))


@pytest.mark.parametrize("words", [("score[1]",), ("score", "--map-index", "1")])
def test_explain_tells_of_one_instance_of_a_mapped_step(
    airflow_mlpipe: Any, steps: Any, words: tuple[str, ...]
) -> None:
    for index in range(2):
        steps.recorded("r1", "score", OTHER, map_index=index)
    told = airflow_mlpipe("explain", "retrain", "r1", *words)
    assert told.out.startswith("retrain/r1/score[1] ran: ")


@pytest.mark.parametrize("task", ["score[5]", "nothing"])
def test_explain_of_what_has_no_record_says_what_has(airflow_mlpipe: Any, steps: Any, task: str) -> None:
    steps.recorded("r1", "score", OTHER, map_index=0)
    told = airflow_mlpipe("explain", "retrain", "r1", task)
    assert (told.code, told.out) == (1, "")
    assert "has no record" in told.err


def test_a_dag_without_records_is_an_error_in_a_sentence(airflow_mlpipe: Any, store: Datastore) -> None:
    answer = airflow_mlpipe("runs", "nobody")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"airflow mlpipe: no run of nobody is recorded in {store.url}\n"


@pytest.mark.parametrize("step", ["ab" * 32, "abababab", "retrain/r1/train"])
def test_show_finds_a_step_by_fingerprint_prefix_and_task_instance(
    airflow_mlpipe: Any, steps: Any, step: str
) -> None:
    manifest = steps.sealed()
    assert airflow_mlpipe("show", step, "-o", "json").json == manifest.model_dump(mode="json")


def test_show_tells_people_who_made_what_from_what(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed()
    text = airflow_mlpipe("show", "retrain/r1/train").out
    assert text.startswith("retrain/r1/train\n")
    for said in ("ran          1 min on worker-1, try 1", "model: file, 7 B", "accuracy: 0.97", "train.py"):
        assert said in text


def test_show_tells_where_a_step_ran_and_what_that_cost(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    compute = ManifestCompute(target="a100", type="kubernetes", cost_per_hour=3.6)
    manifest = steps.sealed().model_copy(update={"compute": compute})
    store.write(manifest_key(manifest.fingerprint), manifest.to_bytes())
    text = airflow_mlpipe("show", "retrain/r1/train").out
    assert "  ran          1 min and 0.06 of compute on worker-1, try 1\n" in text
    assert "  target       a100, kubernetes, 3.60 an hour\n" in text


def test_show_and_explain_of_a_failed_run_tell_what_its_machines_lost(
    airflow_mlpipe: Any, steps: Any
) -> None:
    steps.recorded("r1", "train", OTHER, status="failed", lost_seconds=7200.0, lost_cost=6.0)
    assert "  lost         2 h and 6.00 of compute to infrastructure\n" in (
        airflow_mlpipe("show", "retrain/r1/train").out
    )
    told = airflow_mlpipe("explain", "retrain", "r1", "train")
    assert "\nIt lost 2 h and 6.00 of compute to infrastructure.\n" in told.out
    document = airflow_mlpipe("explain", "retrain", "r1", "train", "-o", "json").json
    assert (document["lost_seconds"], document["lost_cost"]) == (7200.0, 6.0)


def test_show_tells_what_a_function_returned_and_how_it_is_kept(airflow_mlpipe: Any, steps: Any) -> None:
    manifest = steps.called()
    text = airflow_mlpipe("show", manifest.fingerprint).out
    assert "model: file, 7 B" in text
    assert "parameters: config.depth 3, lr 0.1, raw input raw\n" in text
    assert "table: returned, pandas.DataFrame as parquet, " in text
    assert "returned\n  a/b: {'x': [1]}\n  rows: 18\n" in text
    shown = airflow_mlpipe("show", manifest.fingerprint, "-o", "json").json
    assert shown["returned"]["values"] == {"rows": 18, "a/b": {"x": [1]}}


def test_show_of_an_artifact_whose_descriptor_is_damaged_shows_a_folder(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    manifest = steps.called()
    store.write(f"{manifest.outputs['table'].key}/{DESCRIPTOR}", b"{")
    assert "table: directory, " in airflow_mlpipe("show", manifest.fingerprint).out


def test_show_says_when_a_runs_outputs_gave_way_to_others(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed()
    steps.recorded("r0", "train", "ab" * 32, attempt="train-0", sealed=True)
    assert "(in place of what retrain/r0/train handed on)" in airflow_mlpipe("show", "retrain/r0/train").out


def test_show_copes_with_a_manifest_that_nobody_here_would_write(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    manifest = steps.sealed().model_copy(update={"sealed_at": 1e20, "recipe": {"code": "none"}})
    store.write(manifest_key(manifest.fingerprint), manifest.to_bytes())
    answer = airflow_mlpipe("show", manifest.fingerprint)
    assert answer.code == 0
    assert "1e+20 s after 1970" in answer.out


def test_show_of_a_run_that_sealed_nothing_shows_its_record(airflow_mlpipe: Any, steps: Any) -> None:
    record = steps.recorded("r1", "train", OTHER, status="failed")
    assert "retrain/r1/train: failed, no sealed outputs" in airflow_mlpipe("show", "retrain/r1/train").out
    shown = airflow_mlpipe("show", "retrain/r1/train", "-o", "yaml")
    assert yaml.safe_load(shown.out) == record.model_dump(mode="json")


def test_an_ambiguous_prefix_lists_its_candidates(airflow_mlpipe: Any, steps: Any) -> None:
    first, second = "ab" * 31 + "00", "ab" * 31 + "01"
    steps.sealed("r1", fingerprint=first)
    steps.sealed("r2", fingerprint=second)
    answer = airflow_mlpipe("show", "abababab")
    assert answer.code == 1
    assert first in answer.err
    assert second in answer.err


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("train", "'train' names no step"),
        ("retrain/r1/nothing", "no run of retrain/r1/nothing is recorded"),
        ("retrain/r1/train[3]", "no run of retrain/r1/train[3] is recorded"),
        ("0123456789", "no fingerprint that begins with 0123456789"),
        (f"retrain/r1/train[{'9' * 5000}]", "is recorded"),
        ("retrain/r1/tr\udcffin", "it is no UTF-8"),
    ],
)
def test_what_names_nothing_is_an_error_in_a_sentence(
    airflow_mlpipe: Any, steps: Any, step: str, sentence: str
) -> None:
    steps.sealed()
    answer = airflow_mlpipe("show", step)
    assert (answer.code, answer.out) == (1, "")
    assert sentence in answer.err
    assert "Traceback" not in answer.err


def test_a_manifest_that_cannot_be_read_is_an_error_in_a_sentence(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    manifest = steps.sealed()
    store.write(manifest_key(manifest.fingerprint), b"{")
    answer = airflow_mlpipe("show", manifest.fingerprint)
    assert answer.code == 1
    assert "cannot be used" in answer.err


def test_outputs_lists_places_and_digests(airflow_mlpipe: Any, steps: Any, store: Datastore) -> None:
    manifest = steps.sealed()
    rows = {row["name"]: row for row in airflow_mlpipe("outputs", "retrain/r1/train", "-o", "json").json}
    assert set(rows) == {"model", "data"}
    assert rows["model"]["uri"] == store.uri(manifest.outputs["model"].key)
    assert rows["model"]["sha256"] == manifest.outputs["model"].digest
    assert rows["data"]["size"] == 11


def test_outputs_tell_the_type_and_the_format_of_what_was_returned(airflow_mlpipe: Any, steps: Any) -> None:
    fingerprint = steps.called().fingerprint
    rows = {row["name"]: row for row in airflow_mlpipe("outputs", fingerprint, "-o", "json").json}
    assert (rows["table"]["format"], rows["table"]["type"]) == ("parquet", "pandas.DataFrame")
    assert (rows["model"]["format"], rows["model"]["type"]) == (None, None)


def test_outputs_lists_the_files_of_folders_when_asked(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed()
    rows = airflow_mlpipe("outputs", "retrain/r1/train", "--files", "-o", "json").json
    assert [row["name"] for row in rows] == ["data", "data/a.csv", "data/inner/run.sh", "model"]


def test_outputs_of_invalidated_outputs_say_that_they_are_gone(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    manifest = steps.sealed()
    Invalidations(store).invalidate(manifest.fingerprint, by="anna")
    answer = airflow_mlpipe("outputs", "retrain/r1/train")
    assert answer.code == 1
    assert "retrain/r1/train has no sealed outputs" in answer.err
