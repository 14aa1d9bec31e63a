from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.verification import Damage, Level, verify

OUTPUTS = {"model": b"weights", "data": {"a": b"1", "sub/b": b"22"}}


def sentences(datastore: Datastore, manifest: Any, level: Level) -> list[str]:
    return [damage.sentence() for damage in verify(datastore, manifest, level)]


@pytest.mark.parametrize("level", ["size", "digest", "none"])
def test_untouched_outputs_are_well(datastore: Datastore, make_manifest: Any, level: Level) -> None:
    assert verify(datastore, make_manifest(datastore, outputs=OUTPUTS), level) == ()


def test_every_kind_of_damage_is_named_in_order(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore, outputs=OUTPUTS)
    data, model = manifest.outputs["data"].key, manifest.outputs["model"].key
    datastore.delete(f"{data}/a")
    datastore.write(f"{data}/sub/b", b"2")
    datastore.write(f"{data}/foreign", b"")
    datastore.delete(model)
    assert sentences(datastore, manifest, "size") == [
        "output 'data': a is missing",
        "output 'data': foreign is not part of it",
        "output 'data': sub/b has 1 bytes instead of 2",
        "output 'model' is missing",
    ]
    assert verify(datastore, manifest, "none") == ()


def test_only_the_digest_sees_changed_bytes_of_equal_length(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore, outputs=OUTPUTS)
    datastore.write(manifest.outputs["model"].key, b"WEIGHTS")
    assert verify(datastore, manifest, "size") == ()
    (damage,) = verify(datastore, manifest, "digest")
    assert damage.output == "model"
    assert "has SHA-256" in damage.sentence()


def test_a_file_that_became_a_folder_is_damage(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore)
    key = manifest.outputs["model"].key
    datastore.delete(key)
    datastore.write(f"{key}/weights", b"weights")
    assert sentences(datastore, manifest, "size") == [
        "output 'model' is missing",
        "output 'model': weights is not part of it",
    ]


def test_an_empty_folder_is_missed_on_a_local_store(
    local: Datastore, make_manifest: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    manifest = make_manifest(local, outputs={"data": {"a": b"1"}})
    output = manifest.outputs["data"]
    local.delete_tree(output.key)
    local.upload(tmp_path / "empty", output.key)
    empty = output.model_copy(update={"entries": (), "size": 0})
    manifest = manifest.model_copy(update={"outputs": {"data": empty}})
    assert verify(local, manifest, "size") == ()
    local.delete_tree(output.key)
    assert verify(local, manifest, "size") == (Damage("data", "", "is missing"),)


def test_a_link_out_of_the_output_is_no_output(local: Datastore, make_manifest: Any, tmp_path: Path) -> None:
    manifest = make_manifest(local, outputs=OUTPUTS)
    (tmp_path / "elsewhere").write_bytes(b"1")
    folder = local.local_path(manifest.outputs["data"].key)
    assert folder is not None
    (folder / "a").unlink()
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    assert sentences(local, manifest, "digest") == ["output 'data': a is missing"]
    shutil.move(folder, tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    assert sentences(local, manifest, "size") == [
        "output 'data': a is missing",
        "output 'data': sub/b is missing",
    ]
