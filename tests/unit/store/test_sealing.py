from __future__ import annotations

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


def test_an_unusable_manifest_gives_way_only_when_asked(datastore: Datastore, make_manifest: Any) -> None:
    datastore.write(manifest_key(FINGERPRINT), b"{")
    manifest = make_manifest(datastore)
    with pytest.raises(ManifestUnusable):
        seal(datastore, manifest)
    assert seal(datastore, manifest, replace=True) is manifest
    assert read_manifest(datastore, FINGERPRINT) == manifest


def test_a_damaged_manifest_gives_way_when_asked(datastore: Datastore, make_manifest: Any) -> None:
    damaged, manifest = make_manifest(datastore, "attempt-1"), make_manifest(datastore, "attempt-2")
    seal(datastore, damaged)
    datastore.delete(damaged.outputs["model"].key)
    assert seal(datastore, manifest) == damaged
    assert seal(datastore, manifest, replace=True) is manifest


@pytest.mark.parametrize(("sealed_at", "wins"), [(99.0, False), (100.0, False), (100.5, True)])
def test_a_replacement_yields_to_what_was_sealed_while_it_was_made(
    datastore: Datastore, make_manifest: Any, sealed_at: float, wins: bool
) -> None:
    existing = make_manifest(datastore, "attempt-1", sealed_at=sealed_at)
    manifest = make_manifest(datastore, "attempt-2", started_at=100.0)
    seal(datastore, existing)
    assert seal(datastore, manifest, replace=True) == (existing if wins else manifest)
    assert read_manifest(datastore, FINGERPRINT) == (existing if wins else manifest)


def test_sealing_the_same_attempt_again_changes_nothing(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore)
    seal(datastore, manifest)
    later = manifest.model_copy(update={"sealed_at": manifest.sealed_at + 10})
    assert seal(datastore, later, replace=True) == manifest


def test_sealed_files_are_read_only_on_a_local_store(local: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(local, outputs={"data": {"a": b"1", "sub/b": b"2"}, "model": b"3"})
    seal(local, manifest)
    paths: list[Path | None] = [local.local_path(file.key) for file in local.files("mlpipe/v1/attempts")]
    assert len(paths) == 3
    assert all(path is not None and not stat.S_IMODE(path.stat().st_mode) & 0o222 for path in paths)
    local.delete_tree("mlpipe/v1/attempts")
    assert list(local.files("mlpipe/v1/attempts")) == []
