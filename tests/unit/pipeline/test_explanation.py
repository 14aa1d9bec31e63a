"""Explanations from literal records, recipes and snapshots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.cli.explain import text_of
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.explaining.explain import DEEPEST, MOST_CAUSES, MOST_DIFFS, explain
from airflow_mlpipe.pipeline.explaining.explanation import TOLD, Cause, Explanation
from airflow_mlpipe.pipeline.recipes import keep_recipe
from airflow_mlpipe.pipeline.snapshot import keep_snapshot
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.canonical import digest
from airflow_mlpipe.reuse.code_difference import LARGEST_FILE
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.run_record import InputOrigin, RecordedReason, RunRecord, RunRecords
from airflow_mlpipe.store.snapshot import SnapshotFile, pack


class Past:
    """A datastore in which runs of the DAG "d" are recorded, one second after the other."""

    def __init__(self, folder: Path) -> None:
        self.stores = Stores(Datastore.open(str(folder)))
        self._now = 1_000.0

    def run(
        self,
        task: str,
        run: str,
        *,
        arguments: tuple[str, ...] = (),
        code: Mapping[str, bytes] | None = None,
        inputs: Mapping[str, tuple[InputOrigin, ...]] | None = None,
        datasets: Mapping[str, str] | None = None,
        dag: str = "d",
        **fields: Any,
    ) -> InputOrigin:
        """Record a run, with its recipe and its code; the origin of an output "out" that it made."""
        contents = {
            name: digest([origin.digest for origin in found]) for name, found in (inputs or {}).items()
        }
        recipe = Recipe(
            step={"entry": f"{task}.py"},
            code={"files": {name: f"sha256:{digest(data)}" for name, data in (code or {}).items()}},
            arguments=list(arguments),
            inputs={name: {"digest": content} for name, content in {**contents, **(datasets or {})}.items()},
        )
        self._now += 1
        keep_recipe(self.stores.own, recipe)
        archive = pack({name: SnapshotFile(data) for name, data in (code or {}).items()})
        made_by = ProducerReference(dag_id=dag, run_id=run, task_id=task)
        values: dict[str, Any] = {
            "status": "succeeded",
            "action": "ran",
            "reasons": (RecordedReason(kind="changed", text="something changed"),),
            "sealed": True,
            "compared_with": None,
            "saved_seconds": None,
            "snapshot": keep_snapshot(archive, self.stores.own),
            "producer": made_by,
            **fields,
        }
        RunRecords(self.stores.own).write(
            RunRecord(
                **made_by.model_dump(),
                try_number=1,
                fingerprint=recipe.fingerprint(),
                attempt="a",
                inputs={**dict.fromkeys(datasets or {}, ()), **(inputs or {})},
                datasets={
                    name: {f"data/{name}": content, "data/same": ""}
                    for name, content in (datasets or {}).items()
                },
                decided_at=self._now,
                finished_at=self._now,
                seconds=1.0,
                store=self.stores.own.url,
                **values,
            )
        )
        content = digest([recipe.fingerprint(), fields.get("attempt_number", 0)])
        return InputOrigin(fingerprint=recipe.fingerprint(), output="out", digest=content, producer=made_by)

    def explain(self, task: str, run: str, **options: Any) -> Explanation:
        found = explain("d", run, task, stores=self.stores, **options)
        json.dumps(found.as_document(), allow_nan=False)
        return found


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path / "store")


def only_cause(explanation: Explanation) -> Cause:
    (change,) = explanation.changes
    (cause,) = change.causes
    return cause


def sentences(explanation: Explanation | Cause) -> list[str]:
    return [change.difference.sentence() for change in explanation.changes]


def test_without_a_wish_the_run_is_compared_with_that_of_the_decision(past: Past) -> None:
    nearest = past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("z", "z"))
    past.run("t", "3", arguments=("b",), compared_with=nearest.fingerprint)
    found = past.explain("t", "3")
    assert found.baseline is not None
    assert (str(found.baseline.instance), found.baseline.choice) == ("d/1/t", "nearest")
    assert sentences(found) == ["argument 1 a -> b"]


def test_of_equal_earlier_recipes_the_latest_run_is_named(past: Past) -> None:
    nearest = past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("a",))
    past.run("t", "3", arguments=("b",), compared_with=nearest.fingerprint)
    baseline = past.explain("t", "3").baseline
    assert baseline is not None
    assert str(baseline.instance) == "d/2/t"


def test_the_journal_spares_reading_the_records_of_all_runs(past: Past) -> None:
    nearest = past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("a",))
    past.run("t", "3", arguments=("b",), compared_with=nearest.fingerprint)
    Journal(past.stores.own).record("d", "t", -1, "1", nearest.fingerprint)
    baseline = past.explain("t", "3").baseline
    assert baseline is not None
    assert str(baseline.instance) == "d/1/t"


def test_a_journal_that_names_a_run_without_a_record_is_not_followed(past: Past) -> None:
    nearest = past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("b",), compared_with=nearest.fingerprint)
    Journal(past.stores.own).record("d", "t", -1, "gone", nearest.fingerprint)
    baseline = past.explain("t", "2").baseline
    assert baseline is not None
    assert str(baseline.instance) == "d/1/t"


def test_a_decision_that_compared_nothing_is_held_against_the_latest_earlier_run(past: Past) -> None:
    past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("b",))
    past.run("t", "3", arguments=("b",))
    past.run("t", "4", arguments=("c",))
    found = past.explain("t", "3")
    assert found.baseline is not None
    assert (str(found.baseline.instance), found.baseline.choice) == ("d/2/t", "latest")
    assert found.changes == ()
    assert "Nothing differs: step, code, " in text_of(found)


def test_a_run_can_be_held_against_any_other(past: Past) -> None:
    past.run("t", "1", arguments=("a",))
    past.run("t", "2", arguments=("b",))
    found = past.explain("t", "1", against="2")
    assert found.baseline is not None
    assert found.baseline.choice == "asked"
    assert sentences(found) == ["argument 1 b -> a"]


def test_a_run_whose_record_is_gone_is_still_compared_by_its_recipe(past: Past) -> None:
    other = past.run("other", "1", arguments=("a",))
    RunRecords(past.stores.own).write(
        next(RunRecords(past.stores.own).below()).model_copy(update={"fingerprint": "0" * 64})
    )
    past.run("t", "2", arguments=("a", "b"), compared_with=other.fingerprint)
    found = past.explain("t", "2")
    assert found.baseline is not None
    assert found.baseline.instance is None
    assert sentences(found) == ["step's entry other.py -> t.py", "argument 2 added"]
    assert "an earlier recipe, " in text_of(found)


def test_a_recipe_that_is_gone_is_said_to_be(past: Past) -> None:
    past.run("t", "1", compared_with="0" * 64)
    found = past.explain("t", "1")
    assert found.note == "what the recipe 00000000 was made from is not in the datastore any more"
    assert (found.changes, found.equal_parts) == ((), ())


def test_causes_are_followed_to_a_dataset(past: Past) -> None:
    old = past.run("a", "1", datasets={"raw": "1" * 64})
    new = past.run("a", "2", datasets={"raw": "2" * 64})
    past.run("b", "1", inputs={"data": (old,)})
    past.run("b", "2", inputs={"data": (new,)})
    cause = only_cause(past.explain("b", "2"))
    assert (str(cause.made_by), str(cause.before)) == ("d/2/a", "d/1/a")
    assert sentences(cause) == ["input raw changed (1111... -> 2222...)"]
    assert cause.changes[0].dataset == ("data/raw",)
    assert past.explain("b", "2").roots == ("d/2/a: input raw changed (1111... -> 2222...)",)


def test_of_what_was_no_dataset_before_all_paths_are_named(past: Past) -> None:
    made = past.run("a", "1")
    past.run("b", "1", inputs={"in": (made,)})
    past.run("b", "2", datasets={"in": "2" * 64})
    (change,) = past.explain("b", "2").changes
    assert change.dataset == ("data/in", "data/same")
    assert change.note == "what it consisted of before is not known"


def test_what_two_inputs_have_in_common_is_told_once(past: Past) -> None:
    for run in ("1", "2"):
        top = past.run("top", run, arguments=(run,))
        left, right = (past.run(side, run, inputs={"in": (top,)}) for side in ("left", "right"))
        past.run("end", run, inputs={"left": (left,), "right": (right,)})
    found = past.explain("end", "2")
    first, second = (change.causes[0].changes[0].causes[0] for change in found.changes)
    assert sentences(first) == ["argument 1 1 -> 2"]
    assert (second.changes, second.note) == ((), TOLD)
    assert found.roots == ("d/2/top: argument 1 1 -> 2",)


def test_a_chain_without_end_is_followed_so_far_and_no_further(past: Past) -> None:
    made = {run: past.run("s", run, arguments=(run,)) for run in ("1", "2")}
    for step in range(DEEPEST + 5):
        made = {run: past.run(f"s{step}", run, inputs={"in": (made[run],)}) for run in ("1", "2")}
    found = past.explain(f"s{DEEPEST + 4}", "2")
    assert found.roots == (f"d/2/s3: what is more than {DEEPEST} steps back is not followed",)


def test_records_that_name_each_other_do_not_hold_the_walk(past: Past) -> None:
    for run in ("1", "2"):
        origin = past.run("a", run, arguments=(run,))
        past.run("b", run, inputs={"in": (origin,)})
        record = RunRecords(past.stores.own).read("d", run, "b")
        assert record is not None
        itself = origin.model_copy(update={"fingerprint": record.fingerprint, "producer": record.instance})
        RunRecords(past.stores.own).write(record.model_copy(update={"inputs": {"in": (itself,)}}))
    cause = only_cause(past.explain("b", "2"))
    assert only_cause_note(cause) == TOLD


def only_cause_note(cause: Cause) -> str | None:
    return cause.changes[0].causes[0].note


def test_of_a_mapped_upstream_only_the_outputs_that_changed_are_causes(past: Past) -> None:
    same = past.run("a", "0", arguments=("same",))
    old = [past.run(f"a{index}", "1", arguments=("1",)) for index in range(MOST_CAUSES + 2)]
    new = [past.run(f"a{index}", "2", arguments=("2",)) for index in range(MOST_CAUSES + 2)]
    past.run("b", "1", inputs={"in": (same, *old)})
    past.run("b", "2", inputs={"in": (same, *new)})
    (change,) = past.explain("b", "2").changes
    assert [cause.made_by.task_id for cause in change.causes] == [f"a{index}" for index in range(MOST_CAUSES)]
    assert change.note == "2 more of its outputs changed"


def test_an_output_that_was_not_there_before_is_told_with_the_reason_of_its_own(past: Past) -> None:
    first = past.run("a", "1")
    second = past.run("a2", "2")
    past.run("b", "1", inputs={"in": (first,)})
    past.run("b", "2", inputs={"in": (first, second)})
    (change,) = past.explain("b", "2").changes
    assert change.note == "the number of its outputs is 2, and was 1"
    assert change.causes[0].note == "it was not there before; d/2/a2 ran: something changed"


def test_steps_of_a_dag_that_may_not_be_seen_are_told_by_their_ids(past: Past) -> None:
    old = past.run("a", "1", arguments=("secret",), dag="other")
    new = past.run("a", "2", arguments=("hidden",), dag="other")
    past.run("b", "1", inputs={"in": (old,)})
    past.run("b", "2", inputs={"in": (new,)})
    assert sentences(only_cause(past.explain("b", "2"))) == ["argument 1 secret -> hidden"]
    cause = only_cause(past.explain("b", "2", may_see=lambda dag_id: dag_id == "d"))
    assert (str(cause.made_by), str(cause.before)) == ("other/2/a", "other/1/a")
    assert (cause.changes, cause.note) == ((), "another DAG made it, whose explanation says why")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"\0", b"\1\0", "it is not a text"),
        (b"x" * (LARGEST_FILE + 9), b"x" * (LARGEST_FILE + 5), "it is larger than 256 KiB"),
    ],
)
def test_of_files_that_are_no_text_or_too_large_it_is_told_that_they_changed(
    past: Past, old: bytes, new: bytes, expected: str
) -> None:
    past.run("t", "1", code={"data.bin": old})
    past.run("t", "2", code={"data.bin": new})
    (change,) = past.explain("t", "2").changes
    assert change.code is not None
    assert (change.code.diff, change.code.note) == ("", expected)


def test_the_number_of_diffs_is_bounded(past: Past) -> None:
    past.run("t", "1", code={f"{number:03}.txt": b"old\n" for number in range(MOST_DIFFS + 1)})
    past.run("t", "2", code={f"{number:03}.txt": b"new\n" for number in range(MOST_DIFFS + 1)})
    *shown, last = (change.code for change in past.explain("t", "2").changes)
    assert all(code is not None and code.diff for code in shown)
    assert last is not None
    assert last.note == f"it is one of more than {MOST_DIFFS} files that changed"


def test_a_damaged_snapshot_is_not_shown(past: Past) -> None:
    past.run("t", "1", code={"a.py": b"old\n"})
    past.run("t", "2", code={"a.py": b"new\n"})
    record = RunRecords(past.stores.own).read("d", "2", "t")
    assert record is not None
    past.stores.own.write(
        f"mlpipe/v1/snapshots/{record.snapshot}.tar.gz", pack({"a.py": SnapshotFile(b"forged")})
    )
    (change,) = past.explain("t", "2").changes
    assert change.code is not None
    assert change.code.note == "the code of d/2/t is not in the datastore any more"


def test_values_are_whole_in_the_document_and_readable_in_the_text(past: Past) -> None:
    query = "SELECT * FROM words WHERE length > 3 AND language = 'en' ORDER BY length"
    past.run("t", "1", arguments=(query,))
    past.run("t", "2", arguments=(query + " DESC",))
    found = past.explain("t", "2")
    assert found.as_document()["changes"][0]["new"] == query + " DESC"
    assert f"argument 1 changed:\n  from {query}\n  to   {query} DESC" in text_of(found)


def test_the_text_holds_no_commands_for_a_terminal(past: Past) -> None:
    past.run("t", "1", code={"a.txt": b"a\n"}, arguments=("x",))
    past.run("t", "2", code={"a.txt": b"\x1b[2Jb\r\n"}, arguments=("\x1b]0;x\x07",))
    text = text_of(past.explain("t", "2"))
    assert "+\\x1b[2Jb\\r" in text
    assert "\\x1b]0;x\\x07" in text
    assert "\x1b" not in text


def test_a_run_that_has_no_record_is_told_with_those_that_have(past: Past) -> None:
    for run in ("1", "2"):
        past.run("t", run)
    with pytest.raises(NotFoundError, match=r"d/9/t has no record; runs of the task that have one: 2, 1"):
        past.explain("t", "9")
    with pytest.raises(NotFoundError, match=r"d/1/t\[3\] has no record; the task is not mapped in that run"):
        past.explain("t", "1", map_index=3)
    with pytest.raises(NotFoundError, match=r"d/1/x has no record in file:///.*, and no other run"):
        past.explain("x", "1")
