from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import ManifestMissing, ManifestUnusable, read_manifest
from airflow_mlpipe.store.sealing import seal

FINGERPRINT = "ab" * 32


def test_a_sealed_manifest_is_read_back(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore)
    assert seal(datastore, manifest) is manifest
    assert read_manifest(datastore, FINGERPRINT) == manifest


def test_the_first_seal_wins(datastore: Datastore, make_manifest: Any) -> None:
    first, second = make_manifest(datastore, "attempt-1"), make_manifest(datastore, "attempt-2")
    seal(datastore, first)
    assert seal(datastore, second) == first
    assert read_manifest(datastore, FINGERPRINT) == first


def test_outputs_that_are_missing_or_changed_are_not_sealed(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore, outputs={"data": {f"{n}": b"1" for n in range(9)}, "model": b"1"})
    for number in range(6):
        datastore.delete(f"{manifest.outputs['data'].key}/{number}")
    datastore.write(manifest.outputs["model"].key, b"longer")
    expected = f"cannot seal {FINGERPRINT}: output 'data': 0 is missing; .*; and 2 more; outputs must lie"
    with pytest.raises(StoreError, match=expected):
        seal(datastore, manifest)
    with pytest.raises(ManifestMissing):
        read_manifest(datastore, FINGERPRINT)


def seen(datastore: Datastore) -> str:
    """What *replaces* is given: the digest of the manifest that is there."""
    data = datastore.read(manifest_key(FINGERPRINT))
    return "" if data is None else hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("unusable", [b"{", b"", b"\xff", b'{"schema_version": 2}'])
def test_an_unusable_manifest_gives_way_to_who_has_seen_it(
    datastore: Datastore, make_manifest: Any, unusable: bytes
) -> None:
    datastore.write(manifest_key(FINGERPRINT), unusable)
    manifest = make_manifest(datastore)
    for replaces in (None, "", "0" * 64):
        with pytest.raises(ManifestUnusable):
            seal(datastore, manifest, replaces=replaces)
    assert seal(datastore, manifest, replaces=seen(datastore)) is manifest
    assert read_manifest(datastore, FINGERPRINT) == manifest


def test_a_damaged_manifest_gives_way_to_who_has_seen_it(datastore: Datastore, make_manifest: Any) -> None:
    damaged, manifest = make_manifest(datastore, "attempt-1"), make_manifest(datastore, "attempt-2")
    seal(datastore, damaged)
    datastore.delete(damaged.outputs["model"].key)
    assert seal(datastore, manifest) == damaged
    assert seal(datastore, manifest, replaces=seen(datastore)) is manifest


def test_a_replacement_yields_to_what_was_sealed_since(datastore: Datastore, make_manifest: Any) -> None:
    old, quicker, slower = (make_manifest(datastore, f"attempt-{number}") for number in range(3))
    seal(datastore, old)
    before = seen(datastore)
    assert seal(datastore, quicker, replaces=before) is quicker
    assert seal(datastore, slower, replaces=before) == quicker
    assert read_manifest(datastore, FINGERPRINT) == quicker


def test_who_saw_nothing_yields_to_what_was_sealed_since(datastore: Datastore, make_manifest: Any) -> None:
    quicker, slower = make_manifest(datastore, "attempt-1"), make_manifest(datastore, "attempt-2")
    before = seen(datastore)
    seal(datastore, quicker, replaces=before)
    assert seal(datastore, slower, replaces=before) == quicker


@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 9e9), (9e9, 0.0)])
def test_no_clock_has_a_say_in_which_manifest_stays(
    datastore: Datastore, make_manifest: Any, ours: float, theirs: float
) -> None:
    old = make_manifest(datastore, "attempt-1", sealed_at=theirs)
    new = make_manifest(datastore, "attempt-2", started_at=ours, finished_at=ours, sealed_at=ours)
    seal(datastore, old)
    assert seal(datastore, new) == old
    assert seal(datastore, new, replaces=seen(datastore)) is new


def test_sealing_the_same_attempt_again_changes_nothing(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore)
    seal(datastore, manifest)
    later = manifest.model_copy(update={"sealed_at": manifest.sealed_at + 10})
    assert seal(datastore, later) == manifest


def test_what_is_in_the_way_of_a_manifest_is_an_error_of_the_store(
    local: Datastore, make_manifest: Any
) -> None:
    manifest = make_manifest(local)
    path = local.local_path(manifest_key(FINGERPRINT))
    assert path is not None
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot create .*manifest\.json: .*File exists"):
        seal(local, manifest)
    path.rmdir()
    path.symlink_to("nowhere")
    with pytest.raises(StoreError, match=r"cannot create .*manifest\.json: .*File exists"):
        seal(local, manifest)


def test_sealed_files_are_read_only_on_a_local_store(local: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(local, outputs={"data": {"a": b"1", "sub/b": b"2"}, "model": b"3"})
    seal(local, manifest)
    paths: list[Path | None] = [local.local_path(file.key) for file in local.files("mlpipe/v1/attempts")]
    assert len(paths) == 3
    assert all(path is not None and not stat.S_IMODE(path.stat().st_mode) & 0o222 for path in paths)
    local.delete_tree("mlpipe/v1/attempts")
    assert list(local.files("mlpipe/v1/attempts")) == []
