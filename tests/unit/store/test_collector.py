"""Garbage collection on real stores: what it finds, what it leaves alone, and kills at any point of it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import Folder
from airflow_mlpipe.store.garbage.collector import Collected, Collector
from airflow_mlpipe.store.garbage.limits import DAY, Garbage, Limits
from airflow_mlpipe.store.garbage.survey import Survey
from airflow_mlpipe.store.invalidation import COLLECTOR, Invalidations
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import (
    ATTEMPTS,
    ROOT,
    attempt_prefix,
    invalidation_key,
    lease_key,
    manifest_key,
    recipe_key,
    run_record_key,
    snapshot_key,
)
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.manifest import ManifestMissing, read_manifest
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.run_record import InputOrigin, RunRecord, RunRecords
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.verification import verify
from tests.unit.store.conftest import folder_of
from tests.unit.store.faulty import FaultyFolder

MUTATIONS = ("write", "create", "swap", "delete", "delete_tree")


def fingerprint(number: int) -> str:
    return f"{number:02x}" * 32


@dataclass
class Shelf:
    """A store that is filled by hand, and aged."""

    datastore: Datastore
    make_manifest: Any

    def sealed(self, number: int, days: float, **fields: Any) -> str:
        """Outputs sealed *days* ago by an attempt of their own, with the record of the run."""
        name, attempt = fingerprint(number), f"train-{number}"
        at = time.time() - days * DAY
        manifest = self.make_manifest(self.datastore, attempt, fingerprint=name, sealed_at=at, **fields)
        self.datastore.write(manifest_key(name), manifest.to_bytes())
        for file in ("spec.json", "result.json", "log.txt"):
            self.datastore.write(f"{attempt_prefix(attempt)}/{file}", b"{}")
        self.record(f"run-{number}", number, days, attempt=attempt)
        return name

    def attempt(self, name: str, *files: str) -> None:
        for file in files or ("spec.json", "result.json", "outputs/model"):
            self.datastore.write(f"{attempt_prefix(name)}/{file}", b"{}")

    def record(self, run: str, number: int, days: float, **fields: Any) -> RunRecord:
        values: dict[str, Any] = {
            "dag_id": "retrain",
            "run_id": run,
            "task_id": "train",
            "map_index": -1,
            "try_number": 1,
            "status": "succeeded",
            "action": "ran",
            "reasons": (),
            "fingerprint": fingerprint(number),
            "attempt": "",
            "sealed": True,
            "compared_with": None,
            "inputs": {},
            "snapshot": None,
            "decided_at": time.time() - days * DAY,
            "finished_at": time.time() - days * DAY,
            "seconds": 1.0,
            "saved_seconds": None,
            "store": self.datastore.url,
        }
        record = RunRecord(**{**values, **fields})
        RunRecords(self.datastore).write(record)
        return record

    def age(self, days: float) -> None:
        """Make all that lies there now look as if it had been written *days* ago."""
        root = self.datastore.local_path(ROOT)
        if root is None:
            for name, file in fsspec.filesystem("memory").store.items():
                if f"memory:/{name}".startswith(self.datastore.url):
                    file.modified = file.modified.fromtimestamp(
                        time.time() - days * DAY, file.modified.tzinfo
                    )
            return
        for path in [root, *root.rglob("*")]:
            os.utime(path, (time.time() - days * DAY,) * 2, follow_symlinks=False)

    def survey(self, live_runs: Any = (), **limits: Any) -> Survey:
        return Survey(self.datastore, Limits(**limits), live_runs, time.time())

    def garbage(self, live_runs: Any = (), **limits: Any) -> dict[str, list[str]]:
        return by_kind(self.survey(live_runs, **limits).garbage)

    def collect(self, live_runs: Any = (), **limits: Any) -> Collected:
        return Collector(self.survey(live_runs, **limits), Progress.silent()).collect()

    def listing(self) -> list[str]:
        return [file.key for file in self.datastore.files(ROOT) if "/locks/" not in file.key]


def by_kind(items: list[Garbage]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(item.kind, []).append(item.name)
    return found


@pytest.fixture(params=["local", "memory", "unreliable"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder whose files can be made to look old, which those of an object store cannot."""
    with folder_of(request.param, request, tmp_path) as folder:
        yield folder


@pytest.fixture
def shelf(datastore: Datastore, make_manifest: Any) -> Shelf:
    return Shelf(datastore, make_manifest)


@pytest.fixture
def local_shelf(local: Datastore, make_manifest: Any) -> Shelf:
    return Shelf(local, make_manifest)


# -- sealed outputs ------------------------------------------------------------------------------------------


def test_an_empty_store_has_no_garbage(shelf: Shelf) -> None:
    assert shelf.garbage(older_than=1.0) == {}


def test_outputs_go_with_their_manifest_and_their_attempt(shelf: Shelf) -> None:
    old, young = shelf.sealed(1, days=40), shelf.sealed(2, days=10)
    shelf.age(10)
    collected = shelf.collect(older_than=30 * DAY)
    assert by_kind(collected.gone) == {
        "outputs": [old],
        "record": [run_record_key("retrain", "run-1", "train")],
    }
    with pytest.raises(ManifestMissing):
        read_manifest(shelf.datastore, old)
    assert list(shelf.datastore.files(attempt_prefix("train-1"))) == []
    assert verify(shelf.datastore, read_manifest(shelf.datastore, young), "digest") == ()


def test_a_dry_run_deletes_nothing(shelf: Shelf) -> None:
    shelf.sealed(1, days=40)
    shelf.age(40)
    before = shelf.listing()
    assert shelf.garbage(older_than=30 * DAY)["outputs"] == [fingerprint(1)]
    assert shelf.listing() == before


def test_the_next_decision_can_say_that_garbage_was_collected(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    shelf.collect(older_than=30 * DAY)
    said = Invalidations(shelf.datastore).current(name)
    assert said is not None
    assert (said.by, said.reason) == ("garbage collection", "not used for too long")


def test_a_later_reuse_counts_as_use(shelf: Shelf) -> None:
    shelf.sealed(1, days=40)
    shelf.record("later", 1, days=3, action="reused")
    assert "outputs" not in shelf.garbage(older_than=30 * DAY)


def test_the_outputs_that_a_task_used_last_are_kept(shelf: Shelf) -> None:
    names = [shelf.sealed(number, days=40 - number) for number in (1, 2, 3)]
    shelf.record("later", 1, days=3, action="reused")
    assert shelf.garbage(keep=2)["outputs"] == [names[1]]


def test_being_read_by_another_step_counts_as_use(shelf: Shelf) -> None:
    shelf.sealed(1, days=40)
    shelf.record("later", 2, days=3, task_id="score", inputs={"model": (origin(1),)})
    assert "outputs" not in shelf.garbage(older_than=30 * DAY)


def test_outputs_that_a_live_run_has_handed_on_or_read_stay(shelf: Shelf) -> None:
    handed_on, read, other = (shelf.sealed(number, days=40) for number in (1, 2, 3))
    shelf.record("long", 4, days=40, task_id="score", inputs={"model": (origin(2),)})
    live = {("retrain", "run-1"), ("retrain", "long")}
    assert shelf.garbage(live, older_than=30 * DAY)["outputs"] == [other]
    assert set(shelf.garbage(older_than=30 * DAY)["outputs"]) == {handed_on, read, other}


def test_withdrawn_outputs_stay_for_those_who_read_them(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    shelf.record("long", 4, days=3, task_id="score", inputs={"model": (origin(1),)})
    shelf.age(40)
    Invalidations(shelf.datastore).invalidate(name, "ann")
    assert shelf.garbage({("retrain", "long")}) == {}
    assert shelf.garbage(grace=4 * DAY) == {}
    assert shelf.garbage() == {"attempt": ["train-1"]}


def test_outputs_under_a_lease_stay_until_it_has_lapsed_and_the_grace_is_over(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    Leases(shelf.datastore).acquire(name, "somebody", "train-9")
    assert shelf.garbage(older_than=30 * DAY) == {}
    shelf.age(0.5)
    assert shelf.garbage(older_than=30 * DAY) == {}
    shelf.age(2)
    assert shelf.garbage(older_than=30 * DAY)["outputs"] == [name]


def test_what_a_step_at_work_reads_and_what_an_unsealed_run_handed_on_stays(local_shelf: Shelf) -> None:
    local_shelf.sealed(1, days=40)
    local_shelf.age(40)
    spec = {
        "inputs": {
            "raw": {"paths": [local_shelf.datastore.uri(f"{attempt_prefix('train-1')}/outputs/model")]}
        }
    }
    local_shelf.datastore.write(f"{attempt_prefix('score-1')}/spec.json", json.dumps(spec).encode())
    assert "outputs" not in local_shelf.garbage(older_than=30 * DAY)
    local_shelf.age(2)  # without a sign of life it is not at work
    assert local_shelf.garbage(older_than=30 * DAY)["outputs"] == [fingerprint(1)]


def test_the_size_of_outputs_is_that_of_all_that_their_attempt_has(shelf: Shelf) -> None:
    shelf.sealed(1, days=40, outputs={"model": b"x" * 1000})
    (item,) = shelf.survey().outputs
    assert item.size == 1000 + 3 * len(b"{}")


def test_an_attempt_that_another_manifest_needs_stays(shelf: Shelf) -> None:
    shelf.sealed(1, days=40)
    manifest = read_manifest(shelf.datastore, fingerprint(1))
    other = manifest.model_copy(update={"fingerprint": fingerprint(2), "sealed_at": time.time()})
    shelf.datastore.write(manifest_key(fingerprint(2)), other.to_bytes())
    shelf.collect(older_than=30 * DAY)
    assert verify(shelf.datastore, read_manifest(shelf.datastore, fingerprint(2)), "digest") == ()


@pytest.mark.parametrize("schema", [1, 2])
def test_what_an_unreadable_manifest_names_stays(shelf: Shelf, schema: int) -> None:
    name = shelf.sealed(1, days=40)
    document = json.loads(read_manifest(shelf.datastore, name).to_bytes())
    shelf.datastore.write(
        manifest_key(name),
        json.dumps({**document, "schema_version": schema, "recipe": None, "outputs": "?"}).encode(),
    )
    shelf.age(40)
    assert shelf.garbage(older_than=30 * DAY) == {}


def test_what_an_unreadable_record_names_stays(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    shelf.attempt("unsealed-1")
    later = {"schema_version": 2, "made": name, "attempt": "unsealed-1"}
    shelf.datastore.write(run_record_key("retrain", "later", "train"), json.dumps(later).encode())
    shelf.age(40)
    assert shelf.garbage(older_than=30 * DAY) == {}


# -- what nobody can use ----------------------------------------------------------------------------------


def test_attempts_without_a_manifest_go_after_the_grace(shelf: Shelf) -> None:
    shelf.attempt("failed-1", "spec.json", "result.json", "log.txt")
    shelf.attempt("remote-1", "outputs/model/a", "outputs/model/b")
    assert shelf.garbage() == {}
    shelf.age(2)
    assert shelf.garbage() == {"attempt": ["failed-1", "remote-1"]}
    assert shelf.garbage(grace=3 * DAY) == {}
    shelf.collect()
    assert shelf.listing() == []


def test_an_attempt_with_any_fresh_sign_of_life_stays(shelf: Shelf) -> None:
    shelf.attempt("train-9", "spec.json", "log.txt", "heartbeat")
    shelf.age(2)
    shelf.datastore.write(f"{attempt_prefix('train-9')}/heartbeat", b"{}")
    assert shelf.garbage() == {}
    assert shelf.garbage(grace=0.001) == {}  # signs of life are not more frequent than some seconds


def test_an_attempt_whose_supervisor_cannot_write_but_lives_stays(local_shelf: Shelf) -> None:
    local_shelf.attempt("train-9", "spec.json", "heartbeat", "supervisor.lock")
    local_shelf.age(2)
    path = local_shelf.datastore.local_path(f"{attempt_prefix('train-9')}/supervisor.lock")
    assert path is not None
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(path, (time.time() - 2 * DAY,) * 2)
        assert local_shelf.garbage() == {}
    assert local_shelf.garbage() == {"attempt": ["train-9"]}


def test_unsealed_outputs_of_a_live_run_stay(shelf: Shelf) -> None:
    shelf.attempt("train-9")
    shelf.record("bypassing", 9, days=3, attempt="train-9", sealed=False)
    shelf.age(3)
    assert shelf.garbage({("retrain", "bypassing")}) == {}
    assert shelf.garbage() == {"attempt": ["train-9"]}


def test_a_lapsed_lease_goes_and_a_takeover_in_the_last_moment_saves_its_attempt(shelf: Shelf) -> None:
    leases = Leases(shelf.datastore)
    leases.acquire(fingerprint(8), "lost", "train-8")
    leases.acquire(fingerprint(9), "lost", "train-9")
    shelf.attempt("train-8")
    shelf.attempt("train-9")
    shelf.age(2)
    survey = shelf.survey()
    assert by_kind(survey.garbage) == {
        "lease": [fingerprint(8), fingerprint(9)],
        "attempt": ["train-8", "train-9"],
    }
    lapsed = leases.current(fingerprint(9))
    assert lapsed is not None
    leases.take_over(fingerprint(9), lapsed, "next", "train-10")
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared) == {"lease": [fingerprint(9)], "attempt": ["train-9"]}
    assert list(shelf.datastore.files(ATTEMPTS)) == list(shelf.datastore.files(attempt_prefix("train-9")))
    assert not shelf.datastore.exists(lease_key(fingerprint(8)))


def test_the_attempts_of_all_who_held_a_standing_lease_stay(shelf: Shelf) -> None:
    leases = Leases(shelf.datastore)
    leases.acquire(fingerprint(9), "first", "train-1")
    for owner, attempt in (("second", "train-2"), ("third", "train-3")):
        held = leases.current(fingerprint(9))
        assert held is not None
        assert leases.take_over(fingerprint(9), held, owner, attempt) is not None
    shelf.attempt("train-1")
    shelf.attempt("train-8")
    standing = shelf.datastore.read(lease_key(fingerprint(9)))
    assert standing is not None
    shelf.age(2)
    shelf.datastore.write(lease_key(fingerprint(9)), standing)
    assert shelf.garbage() == {"attempt": ["train-8"]}


@pytest.mark.parametrize("is_done", [False, True])
def test_an_attempt_that_is_taken_up_again_since_the_survey_stays(shelf: Shelf, is_done: bool) -> None:
    """The new lease names another attempt than the one that its owner goes on with."""
    manifest = shelf.make_manifest(shelf.datastore, "train-9", fingerprint=fingerprint(9))
    shelf.datastore.write(
        f"{attempt_prefix('train-9')}/spec.json", json.dumps({"fingerprint": fingerprint(9)}).encode()
    )
    shelf.age(2)
    survey = shelf.survey()
    assert by_kind(survey.garbage) == {"attempt": ["train-9"]}
    if is_done:
        seal(shelf.datastore, manifest)
    else:
        Leases(shelf.datastore).acquire(fingerprint(9), "next", "train-10")
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared) == {"attempt": ["train-9"]}
    assert verify(shelf.datastore, manifest, "digest") == ()


def test_snapshots_that_nothing_names_go(shelf: Shelf) -> None:
    by_manifest, by_record, by_none = ("a1" * 32, "b2" * 32, "c3" * 32)
    for digest in (by_manifest, by_record, by_none):
        shelf.datastore.write(snapshot_key(digest), b"archive")
    shelf.sealed(1, days=0, snapshot=by_manifest)
    shelf.record("failed", 2, days=0, snapshot=by_record, status="failed")
    assert shelf.garbage() == {}
    shelf.age(2)
    assert shelf.garbage() == {"snapshot": [by_none]}
    shelf.collect()
    assert not shelf.datastore.exists(snapshot_key(by_none))
    assert shelf.datastore.exists(snapshot_key(by_record))


def test_old_records_go_when_their_outputs_are_gone(shelf: Shelf) -> None:
    shelf.sealed(1, days=3)
    shelf.record("older", 1, days=60)
    shelf.record("failed", 2, days=60, status="failed")
    shelf.record("live", 3, days=60, status="running")
    assert shelf.garbage({("retrain", "live")}) == {}
    failed = run_record_key("retrain", "failed", "train")
    assert shelf.garbage({("retrain", "live")}, older_than=30 * DAY) == {"record": [failed]}
    shelf.collect({("retrain", "live")}, older_than=30 * DAY)
    assert not shelf.datastore.exists(failed)
    assert shelf.datastore.exists(run_record_key("retrain", "older", "train"))


def test_a_record_that_was_written_anew_meanwhile_stays(shelf: Shelf) -> None:
    shelf.record("failed", 2, days=60, status="failed")
    survey = shelf.survey(older_than=30 * DAY)
    again = shelf.record("failed", 2, days=0)
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared) == {"record": [run_record_key("retrain", "failed", "train")]}
    assert RunRecords(shelf.datastore).read("retrain", "failed", "train") == again


def test_recipes_and_words_of_invalidation_go_when_no_explanation_can_need_them(shelf: Shelf) -> None:
    for number in range(1, 6):
        shelf.datastore.write(recipe_key(fingerprint(number)), b"{}")
    shelf.record("run", 1, days=0, compared_with=fingerprint(2), inputs={"raw": (origin(3),)})
    Journal(shelf.datastore).record("retrain", "train", -1, "run", fingerprint(4))
    shelf.age(2)
    assert shelf.garbage() == {"note": [recipe_key(fingerprint(5))]}
    shelf.collect()
    assert not shelf.datastore.exists(recipe_key(fingerprint(5)))


def test_a_word_of_invalidation_goes_when_the_outputs_are_there_again(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=3)
    manifest = read_manifest(shelf.datastore, name).to_bytes()
    Invalidations(shelf.datastore).invalidate(name, "ann")
    shelf.datastore.write(manifest_key(name), manifest)
    shelf.age(2)
    assert [*shelf.garbage()] == ["note"]
    shelf.collect()
    assert Invalidations(shelf.datastore).current(name) is None


def test_a_word_that_keeps_outputs_of_other_stores_from_being_reused_stays(shelf: Shelf) -> None:
    said = Invalidations(shelf.datastore)
    said.distrust(fingerprint(1), "anna", "wrong labels")
    said.distrust(fingerprint(2), COLLECTOR, "not used for too long")
    shelf.datastore.write(invalidation_key(fingerprint(3)), b"{")
    shelf.age(400)
    assert shelf.garbage(older_than=30 * DAY) == {"note": [invalidation_key(fingerprint(2))]}


def test_what_killed_writers_left_goes_and_nothing_that_a_step_named_so(local_shelf: Shelf) -> None:
    local_shelf.sealed(1, days=2)
    root = local_shelf.datastore.local_path(ROOT)
    assert root is not None
    (root / "steps" / ".mlpipe-1.tmp").write_bytes(b"half")
    (root / "attempts" / "train-1" / ".mlpipe-2.tmp").mkdir()
    (root / "attempts" / "train-1" / ".mlpipe-2.tmp" / "a").write_bytes(b"half")
    (root / "attempts" / "train-1" / "files").mkdir()
    (root / "attempts" / "train-1" / "files" / ".mlpipe-3.tmp").write_bytes(b"a step's own")
    assert local_shelf.garbage() == {}
    local_shelf.age(2)
    left = {f"{ROOT}/steps/.mlpipe-1.tmp", f"{ROOT}/attempts/train-1/.mlpipe-2.tmp"}
    assert {kind: set(names) for kind, names in local_shelf.garbage().items()} == {"temporary": left}
    local_shelf.collect()
    assert not list(root.rglob(".mlpipe-[12].tmp"))
    assert (root / "attempts" / "train-1" / "files" / ".mlpipe-3.tmp").exists()


def test_folders_without_files_go_and_those_that_are_filled_meanwhile_stay(local_shelf: Shelf) -> None:
    root = local_shelf.datastore.local_path(ROOT)
    assert root is not None
    step, run = root / "steps" / "01" / fingerprint(1), root / "runs" / "retrain" / "r1"
    for folder in (step, run / "train", root / "attempts" / "train-1" / "outputs" / "model"):
        folder.mkdir(parents=True)
    assert local_shelf.garbage() == {}
    local_shelf.age(2)
    survey = local_shelf.survey()
    assert len(survey.garbage) == 3
    (run / "train" / "-1.json").write_bytes(b"{}")
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared) == {"folder": [f"{ROOT}/runs/retrain/r1"]}
    assert (run / "train" / "-1.json").exists()
    assert not step.exists()
    assert not (root / "attempts" / "train-1").exists()


def test_packages_journals_and_locks_are_never_touched(local_shelf: Shelf) -> None:
    for key in (
        f"{ROOT}/environments/{'a' * 64}.txt",
        f"{ROOT}/journal/retrain/train/-1.json",
        f"{ROOT}/locks/ab",
    ):
        local_shelf.datastore.write(key, b"")
    local_shelf.age(900)
    assert local_shelf.garbage(older_than=DAY) == {}


def test_what_lies_outside_of_the_layout_is_never_touched(local_shelf: Shelf) -> None:
    local_shelf.sealed(1, days=40)
    local_shelf.datastore.write("others/data.csv", b"1")
    local_shelf.datastore.write(f"namespaces/team/{attempt_prefix('x')}/outputs/model", b"1")
    local_shelf.datastore.write(f"{ROOT}/attempts/stray", b"1")
    local_shelf.age(40)
    local_shelf.collect(older_than=30 * DAY)
    assert [file.key for file in local_shelf.datastore.files() if "/locks/" not in file.key][-2:] == [
        f"namespaces/team/{attempt_prefix('x')}/outputs/model",
        "others/data.csv",
    ]


# -- races and kills --------------------------------------------------------------------------------------


def test_outputs_that_were_sealed_anew_since_the_survey_stay(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    survey = shelf.survey(older_than=30 * DAY)
    shelf.sealed(1, days=0, results={"accuracy": 1})
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared)["outputs"] == [name]
    assert verify(shelf.datastore, read_manifest(shelf.datastore, name), "digest") == ()


def test_outputs_under_a_lease_since_the_survey_stay(shelf: Shelf) -> None:
    name = shelf.sealed(1, days=40)
    survey = shelf.survey(older_than=30 * DAY)
    Leases(shelf.datastore).acquire(name, "somebody", "train-9")
    assert by_kind(Collector(survey, Progress.silent()).collect().spared)["outputs"] == [name]
    assert read_manifest(shelf.datastore, name)


@pytest.mark.parametrize("clock_error", [0.0, -100 * DAY])
def test_a_reuse_recorded_before_the_withdrawal_saves_the_outputs(
    local_shelf: Shelf, clock_error: float
) -> None:
    """The reader has looked and recorded; the collector withdraws only then. Its clock may be wrong."""
    name = local_shelf.sealed(1, days=40)
    survey = local_shelf.survey(older_than=30 * DAY)
    local_shelf.record("now", 1, days=-clock_error / DAY, action="reused", attempt="train-1")
    collected = Collector(survey, Progress.silent()).collect()
    assert by_kind(collected.spared) == {"outputs": [name]}
    assert local_shelf.datastore.exists(f"{attempt_prefix('train-1')}/outputs/model")


def test_no_interleaving_of_a_reuse_hands_on_outputs_that_are_deleted(
    tmp_path: Path, make_manifest: Any
) -> None:
    """A reader steps in before and after every single call that the collector makes to the store."""
    for number in range(1, 200):
        reader = Reader(number)
        folder = FaultyFolder(LocalFolder(tmp_path / str(number)), reader)
        shelf = Shelf(Datastore(folder), make_manifest)
        shelf.sealed(1, days=40)
        survey = shelf.survey(older_than=30 * DAY)
        reader.shelf = Shelf(Datastore.open(str(tmp_path / str(number))), make_manifest)
        Collector(survey, Progress.silent()).collect()
        if reader.handed_on:
            assert shelf.datastore.exists(f"{attempt_prefix('train-1')}/outputs/model")
        if reader.shelf is not None:
            break  # the collector was done before it was the reader's turn
    assert number > 10
    assert number < 199


class Reader:
    """A step that reuses outputs 1 at the *number*-th call of a store: look, record, look again, hand on."""

    def __init__(self, number: int) -> None:
        self.shelf: Shelf | None = None
        self.handed_on = False
        self._left = number

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        if self.shelf is None:
            return
        self._left -= 1
        if self._left == 0:
            shelf, self.shelf = self.shelf, None
            if shelf.datastore.exists(manifest_key(fingerprint(1))):
                shelf.record("now", 1, days=0, action="reused", attempt="train-1")
                self.handed_on = shelf.datastore.exists(manifest_key(fingerprint(1)))


class Killed(BaseException):
    pass


class Killer:
    """Kills the process at the *number*-th change of the store, before or after its effect."""

    def __init__(self) -> None:
        self.left: float = float("inf")
        self.after = False

    def __call__(self, verb: str, key: str, *, after: bool) -> None:
        if verb in MUTATIONS and after == self.after:
            self.left -= 1
            if self.left == 0:
                raise Killed


def full(shelf: Shelf) -> None:
    """Garbage of every kind, and outputs that stay."""
    shelf.sealed(1, days=40, outputs={"data": {"a": b"1", "b/c": b"2"}, "model": b"3"})
    shelf.sealed(2, days=35)
    shelf.sealed(3, days=2)
    shelf.attempt("failed-1")
    Leases(shelf.datastore).acquire(fingerprint(9), "lost", "lost-1")
    shelf.attempt("lost-1")
    shelf.datastore.write(snapshot_key("c3" * 32), b"archive")
    shelf.datastore.write(recipe_key(fingerprint(7)), b"{}")
    shelf.age(2)


def whole(shelf: Shelf) -> Iterator[str]:
    for number in range(1, 4):
        try:
            manifest = read_manifest(shelf.datastore, fingerprint(number))
        except ManifestMissing:
            continue
        assert verify(shelf.datastore, manifest, "digest") == ()
        yield manifest.fingerprint


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_change_leaves_whole_outputs_and_garbage_for_the_next(
    tmp_path: Path, make_manifest: Any, after: bool
) -> None:
    full(Shelf(Datastore.open(str(tmp_path / "full")), make_manifest))
    kills = 0
    while True:
        killer = Killer()
        shutil.copytree(tmp_path / "full", tmp_path / str(kills))
        folder = FaultyFolder(LocalFolder(tmp_path / str(kills)), killer)
        shelf = Shelf(Datastore(folder), make_manifest)
        survey = shelf.survey(older_than=30 * DAY)
        killer.left, killer.after = kills + 1, after
        try:
            Collector(survey, Progress.silent()).collect()
        except Killed:
            kills += 1
        else:
            break
        killer.left = float("inf")
        assert fingerprint(3) in list(whole(shelf))
        shelf.collect(older_than=30 * DAY)
        assert list(whole(shelf)) == [fingerprint(3)]
        assert {key.split("/")[3] for key in shelf.listing() if key.startswith(ATTEMPTS)} == {"train-3"}
        assert shelf.garbage(older_than=30 * DAY).keys() <= {"record", "note"}
    assert kills >= 9


def test_what_the_store_refuses_is_told_and_the_rest_goes_on(tmp_path: Path, make_manifest: Any) -> None:
    def refuse(verb: str, key: str, *, after: bool) -> None:
        if verb == "delete_tree" and key.endswith("failed-1"):
            raise StoreError("cannot delete failed-1: Permission denied; check that this user may do it")

    shelf = Shelf(Datastore(FaultyFolder(LocalFolder(tmp_path / "store"), refuse)), make_manifest)
    full(shelf)
    collected = shelf.collect(older_than=30 * DAY)
    assert [(item.name, "Permission denied" in why) for item, why in collected.failed] == [("failed-1", True)]
    assert list(whole(shelf)) == [fingerprint(3)]


def origin(number: int) -> InputOrigin:
    """An output of the outputs *number* as an input."""
    producer = ProducerReference(dag_id="retrain", run_id="r", task_id="train", map_index=-1)
    return InputOrigin(fingerprint=fingerprint(number), output="model", digest="d" * 64, producer=producer)
