from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_mlpipe.store import listing
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.manifest import Manifest
from airflow_mlpipe.store.verification import Damage, Level, verify

OUTPUTS = {"model": b"weights", "data": {"a": b"1", "sub/b": b"22"}}


@pytest.fixture(params=["inline", "listed"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the files of folders are listed: in the manifest, or in a document of their own."""
    if request.param == "listed":
        monkeypatch.setattr(listing, "INLINE", 0)
    return str(request.param)


def sentences(datastore: Datastore, manifest: Any, level: Level) -> list[str]:
    return [damage.sentence() for damage in verify(datastore, manifest, level)]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("level", ["auto", "size", "digest", "none"])
def test_untouched_outputs_are_well(datastore: Datastore, make_manifest: Any, level: Level) -> None:
    assert verify(datastore, make_manifest(datastore, outputs=OUTPUTS), level) == ()


@pytest.mark.usefixtures("form")
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


def test_auto_compares_content_on_a_local_store_and_sizes_on_others(
    datastore: Datastore, make_manifest: Any
) -> None:
    manifest = make_manifest(datastore, outputs=OUTPUTS)
    datastore.write(f"{manifest.outputs['data'].key}/a", b"2")
    damaged = datastore.local_path("a") is not None
    assert [item.path for item in verify(datastore, manifest, "auto")] == (["a"] if damaged else [])
    datastore.delete(f"{manifest.outputs['data'].key}/a")
    assert sentences(datastore, manifest, "auto") == ["output 'data': a is missing"]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("level", ["auto", "digest"])
@pytest.mark.parametrize("harm", ["lose", "add", "disable"])
def test_empty_folders_and_executable_bits_are_part_of_an_output_on_a_local_store(
    local: Datastore, tmp_path: Path, level: Level, harm: str, make_manifest: Any
) -> None:
    path = local.local_path(output_key("attempt-2", "data"))
    assert path is not None
    (path / "empty").mkdir(parents=True)
    (path / "run.sh").write_text("exit 0")
    (path / "run.sh").chmod(0o755)
    output = describe_output(local, "attempt-2", "data", path)
    manifest = make_manifest(local).model_copy(update={"outputs": {"data": output}})
    assert verify(local, manifest, level) == ()
    if harm == "lose":
        (path / "empty").rmdir()
    elif harm == "add":
        (path / "more").mkdir()
    else:
        (path / "run.sh").chmod(0o644)
    assert sentences(local, manifest, level) == [
        "output 'data' has an empty folder, or a file with an executable bit, that is not as it was sealed"
    ]


def test_auto_reads_nothing_that_the_cache_knows(
    local: Datastore, make_manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_manifest(local, outputs=OUTPUTS)
    later = time.time_ns() + 10**10  # what was just written is not remembered

    def read(path: Path, *rest: Any) -> Any:
        raise AssertionError(f"{path} was read")

    with HashCache(tmp_path / "digests.sqlite", clock=lambda: later) as cache:
        assert verify(local, manifest, "auto", cache) == ()
        for module in ("hash_cache", "hashing"):
            monkeypatch.setattr(f"airflow_mlpipe.store.{module}.digest_at_rest", read)
        assert verify(local, manifest, "auto", cache) == ()
        with pytest.raises(AssertionError, match="was read"):
            verify(local, manifest, "auto", HashCache(None))


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


files = st.dictionaries(
    st.sampled_from(["a", "b-c", "b.c", "b/c", "b/d", "b0", "e/f/g", "ü"]),
    st.binary(min_size=1, max_size=3),
    max_size=8,
)


def sealed(folder: str, files: dict[str, bytes], inline: int) -> tuple[Datastore, Manifest, Path]:
    """A store with one output, as much of its manifest as verification reads, and where the output lies."""
    datastore = Datastore.open(f"{folder}/store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "INLINE", inline)
        root = Path(folder, "store", "mlpipe/v1/attempts/attempt-1/outputs/data")
        root.mkdir(parents=True)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        output = describe_output(datastore, "attempt-1", "data", root)
    return datastore, Manifest.model_construct(outputs={"data": output}), root


@settings(max_examples=120)
@given(files, st.sampled_from([0, 256]), st.data())
def test_the_damage_of_any_one_file_is_found(
    files: dict[str, bytes], inline: int, data: st.DataObject
) -> None:
    assume(files)
    path = data.draw(st.sampled_from(sorted(files)))
    damage = data.draw(st.sampled_from(["missing", "extra", "longer", "shorter", "flipped"]))
    with tempfile.TemporaryDirectory() as folder:
        datastore, manifest, root = sealed(folder, files, inline)
        assert verify(datastore, manifest, "digest") == ()
        content, where = files[path], root / path
        if damage == "missing":
            where.unlink()
        elif damage == "extra":
            where = where.with_name(f"{where.name}-")
            assume(where.relative_to(root).as_posix() not in files)
            where.write_bytes(b"")
        elif damage == "longer":
            where.write_bytes(content + b"\0")
        elif damage == "shorter":
            where.write_bytes(content[:-1])
        else:
            where.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        expected = where.relative_to(root).as_posix()
        assert [found.path for found in verify(datastore, manifest, "digest")] == [expected]
        assert bool(verify(datastore, manifest, "size")) == (damage != "flipped")


@pytest.mark.parametrize("data", [None, b"", b"{}", b'{"schema_version":1}\n'])
@pytest.mark.parametrize("level", ["size", "digest"])
def test_an_unusable_listing_is_damage_and_no_error(
    datastore: Datastore,
    make_manifest: Any,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes | None,
    level: Level,
) -> None:
    monkeypatch.setattr(listing, "INLINE", 1)
    manifest = make_manifest(datastore, outputs=OUTPUTS)
    key = manifest.outputs["data"].listing.key
    if data is None:
        datastore.delete(key)
    else:
        datastore.write(key, data)
    (damage,) = verify(datastore, manifest, level)
    assert damage.sentence().startswith(f"output 'data' cannot be checked: its listing {key} ")


def test_the_listing_of_another_output_is_damage(
    datastore: Datastore, make_manifest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "INLINE", 0)
    manifest = make_manifest(datastore, outputs={"one": {"a": b"1"}, "two": {"a": b"2"}})
    foreign = datastore.read(manifest.outputs["two"].listing.key)
    datastore.write(manifest.outputs["one"].listing.key, foreign or b"")
    assert [damage.output for damage in verify(datastore, manifest, "size")] == ["one"]


def test_a_thousand_damages_are_enough(local: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(local, outputs={"data": {f"{number}": b"" for number in range(1100)}})
    local.delete_tree(manifest.outputs["data"].key)
    assert len(verify(local, manifest, "size")) == 1000
