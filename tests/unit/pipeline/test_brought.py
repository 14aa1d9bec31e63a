"""What an attempt says that it left, held against the datastore."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mlpipe.carrier.leaving import Leaver
from airflow_mlpipe.errors import DocumentError, InfrastructureError
from airflow_mlpipe.pipeline.brought import BroughtFiles
from airflow_mlpipe.records import Brought, LaunchSpec, OutputSpec, RunInfo
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, listing_key, output_key
from airflow_mlpipe.store.listing import INLINE, describe_output, entries_of

ATTEMPT = "train-1"


def left(tmp_path: Path, make: Callable[[Path], object]) -> tuple[Datastore, BroughtFiles, Path]:
    """What the carrier says of the output ``data`` that *make* made, and where that lies."""
    store = Datastore.open(f"{tmp_path}/store")
    directory = tmp_path / "store" / attempt_prefix(ATTEMPT)
    path = directory / "outputs" / "data"
    path.parent.mkdir(parents=True)
    make(path)
    spec = LaunchSpec(
        attempt=ATTEMPT,
        fingerprint="f" * 64,
        argv=[],
        directory=str(directory),
        working_directory=str(tmp_path / "code"),
        run=RunInfo(ATTEMPT, "digits", "digits", "manual-1", "train", -1, 1),
        outputs={"data": OutputSpec(str(path), create=False)},
    )
    Leaver(spec, Datastore.open(str(directory)), lambda sentence: None).leave_everything()
    return store, BroughtFiles(store, ATTEMPT, directory / "brought.jsonl"), path


def a_file(path: Path) -> None:
    path.write_bytes(b"content")


def an_empty_folder(path: Path) -> None:
    path.mkdir()


def a_folder(path: Path) -> None:
    (path / "a" / "empty").mkdir(parents=True)
    (path / "a-b").write_bytes(b"1")
    (path / "a" / "c").write_bytes(b"22")
    (path / "a" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (path / "a" / "run.sh").chmod(0o755)
    (path / "link").symlink_to("a-b")


def many_files(path: Path) -> None:
    path.mkdir()
    for number in range(INLINE + 1):
        (path / f"{number}").write_bytes(b"%d" % number)


@pytest.mark.parametrize("make", [a_file, an_empty_folder, a_folder, many_files])
def test_the_description_is_the_one_that_a_local_run_gives(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    store, brought, path = left(tmp_path, make)
    key, listing = output_key(ATTEMPT, "data"), listing_key(ATTEMPT, "data")
    found = brought.describe("data", key, listing)
    assert found is not None
    assert found == describe_output(store, ATTEMPT, "data", path)
    assert len(list(entries_of(store, found))) == sum(item.is_file() for item in path.rglob("*"))


def test_what_was_not_written_is_not_there(tmp_path: Path) -> None:
    _, brought, _ = left(tmp_path, lambda path: None)
    assert brought.describe("data", output_key(ATTEMPT, "data"), listing_key(ATTEMPT, "data")) is None


def test_a_part_of_an_output_can_be_described_for_its_registration(tmp_path: Path) -> None:
    store, brought, _ = left(tmp_path, a_folder)
    key, listing = f"{output_key(ATTEMPT, 'data')}/a", listing_key(ATTEMPT, "registration-1")
    found = brought.describe("part", key, listing)
    assert found is not None
    assert [entry.path for entry in entries_of(store, found)] == ["c", "run.sh"]
    one = brought.describe("part", f"{key}/c", listing)
    assert one is not None
    assert (one.kind, one.size) == ("file", 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "a" / "c").unlink(),
        lambda path: (path / "a" / "c").write_bytes(b"333"),
        lambda path: (path / "new").write_bytes(b""),
    ],
    ids=["missing", "of another size", "new"],
)
def test_a_datastore_that_has_something_else_is_believed(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    _, brought, path = left(tmp_path, a_folder)
    change(path)
    with pytest.raises(InfrastructureError, match="is not what its step left there"):
        brought.describe("data", output_key(ATTEMPT, "data"), listing_key(ATTEMPT, "data"))


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(dataclasses.asdict(Brought("outputs/data", "../../../other/secret", 1, "0" * 64))),
        json.dumps(dataclasses.asdict(Brought("outputs/../../other", "x", 1, "0" * 64))),
        json.dumps({**dataclasses.asdict(Brought("outputs/data", "x", 1, "0" * 64)), "size": "1"}),
        "{}",
        "no json",
    ],
)
def test_a_line_that_leads_elsewhere_or_is_none_is_refused(tmp_path: Path, line: str) -> None:
    _, brought, _ = left(tmp_path, a_folder)
    path = tmp_path / "store" / attempt_prefix(ATTEMPT) / "brought.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(DocumentError, match="cannot be used"):
        brought.describe("data", output_key(ATTEMPT, "data"), listing_key(ATTEMPT, "data"))
