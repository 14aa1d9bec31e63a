"""Inputs on servers, as a step finds them: mounted, downloaded, or by their URL."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mlpipe.access import Access
from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.model.inputs import AccessMode, TabularFormat
from airflow_mlpipe.pipeline import mounting
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.store import mounted_files
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.mounted_files import MountDocument, MountedFile, MountedFiles
from airflow_mlpipe.store.remote_listing import list_remote
from tests.services import ObjectStore
from tests.unit.pipeline.remote_worker import Worker, remote_worker

needs_fuse = pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="/dev/fuse cannot be used here"
)


@pytest.fixture
def worker(s3: ObjectStore, tmp_path: Path) -> Iterator[Worker]:
    with remote_worker(s3, tmp_path) as worker:
        yield worker


def files_in(folder: str | Path) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_remote_data_is_shown_read_only_and_moved_once_for_all_steps(worker: Worker) -> None:
    source = worker.dataset(worker.put(a=b"a", deep__b=b"bb"))
    (first,), (second,) = worker.stage(source), worker.stage(source)
    assert files_in(first) == files_in(second) == {"a": b"a", "deep/b": b"bb"}
    assert Path(first).name == "raw"
    assert worker.moved == 3 + 3
    assert Path(first, "a").samefile(Path(second, "a"))
    assert Path(first, "a").stat().st_mode & 0o222 == 0


def test_a_download_is_a_copy_that_the_step_may_change(worker: Worker) -> None:
    source = worker.dataset(worker.put(a=b"a"))
    (first,) = worker.stage(source, "download")
    Path(first, "a").write_bytes(b"changed")
    (second,) = worker.stage(source, "download")
    assert files_in(second) == {"a": b"a"}


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_one_remote_file_keeps_its_name_and_may_have_a_fixed_place(
    worker: Worker, tmp_path: Path, mode: AccessMode
) -> None:
    source = worker.dataset(worker.put(**{"deep__b.csv": b"bb"}) + "/deep/b.csv")
    (path,) = worker.stage(source, mode)
    assert (Path(path).name, Path(path).read_bytes()) == ("b.csv", b"bb")
    place, inputs = tmp_path / "fixed" / "data.csv", worker.attempt()
    assert worker.stage(source, mode, inputs=inputs, path=place) == [str(place)]
    assert place.read_bytes() == b"bb"
    Traces(inputs).clear()
    assert not place.is_symlink()


def test_what_a_pattern_or_a_partition_format_leaves_out_is_not_shown(worker: Worker) -> None:
    url = worker.put(**{"fr__2026.csv": b"1", "de__2026.csv": b"2", "de__notes.txt": b"3"})
    (path,) = worker.stage(worker.dataset(f"{url}/**/*.csv"))
    assert files_in(path) == {"fr/2026.csv": b"1", "de/2026.csv": b"2"}
    (path,) = worker.stage(worker.dataset(url, partition_format="{country}/{year:yyyy}.csv"), "download")
    assert files_in(path) == {"fr/2026.csv": b"1", "de/2026.csv": b"2"}


def test_local_and_remote_places_are_one_folder(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "local.txt").write_bytes(b"here")
    url = worker.put(a=b"a")
    for mode in ("mount", "download"):
        (path,) = worker.stage(worker.dataset("local.txt", url), mode)
        assert files_in(path) == {"local.txt": b"here", "raw/a": b"a"}


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_an_object_that_changed_since_it_was_fingerprinted_is_not_given_to_the_step(
    worker: Worker, mode: AccessMode
) -> None:
    source = worker.dataset(worker.put(a=b"old"))
    worker.put(a=b"new")
    with pytest.raises(StoreError, match="changed"):
        worker.stage(source, mode)


def test_direct_access_gives_the_real_url(worker: Worker) -> None:
    url = worker.put(a=b"a")
    assert worker.stage(worker.dataset(f"{url}/"), "direct") == [f"{url}/"]
    with pytest.raises(UserError, match="is several files, which have no one URL"):
        worker.stage(worker.dataset(f"{url}/*"), "direct")


def test_a_table_that_is_read_directly_gives_the_urls_of_its_files(worker: Worker, tmp_path: Path) -> None:
    url = worker.put(**{"b.csv": b"b", "a.csv": b"a"})
    (tmp_path / "c.csv").write_text("c")
    table = TabularFormat(format="delimited")
    assert worker.stage(worker.dataset(url), "direct", table=table) == [f"{url}/a.csv", f"{url}/b.csv"]
    both = worker.dataset(f"{url}/*.csv", "c.csv")
    assert worker.stage(both, "direct", table=table) == [
        f"{url}/a.csv",
        f"{url}/b.csv",
        str(tmp_path / "c.csv"),
    ]
    (staged,) = worker.stage(worker.dataset(f"{url}/a.csv"), table=table)
    assert Path(staged).read_bytes() == b"a"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What a step may leave: files, one of them executable, and empty folders."""
    folder = tmp_path / "made"
    (folder / "deep/empty").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder / "deep/run.sh").write_bytes(b"#!/bin/sh")
    (folder / "deep/run.sh").chmod(0o755)
    return folder


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_an_output_is_what_its_step_had_sealed_with_all_bits_and_folders(
    worker: Worker, made: Path, mode: AccessMode
) -> None:
    reference = worker.sealed(made)
    (path,) = worker.stage(worker.finder.reference(reference), mode)
    assert describe(Path(path)).digest == reference.digest
    assert os.access(f"{path}/deep/run.sh", os.X_OK)


def test_an_output_that_was_here_before_is_not_moved_again(worker: Worker, made: Path) -> None:
    (made / "deep/empty").rmdir()
    source = worker.finder.reference(worker.sealed(made))
    worker.stage(source)
    worker.bucket.filesystem().rm(f"{worker.bucket.bucket}/store/mlpipe/v1/attempts", recursive=True)
    (path,) = worker.stage(source)
    assert describe(Path(path)).digest == source.digest


@pytest.mark.parametrize("manifest", [True, False])
def test_an_output_of_which_a_byte_was_changed_is_refused(worker: Worker, made: Path, manifest: bool) -> None:
    (made / "deep/run.sh").chmod(0o644)
    reference = worker.sealed(made, manifest=manifest)
    path = f"{worker.bucket.bucket}/store/{output_key('attempt-1', 'made')}/a"
    worker.bucket.filesystem().pipe_file(path, b"evil" if not manifest else b"e")
    with pytest.raises(StoreError, match=r"SHA-256|has 13 bytes instead of 10"):
        worker.stage(worker.finder.reference(reference))


def test_a_file_output_without_a_manifest_is_proven_by_its_reference(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    reference = worker.sealed(tmp_path / "model", manifest=False)
    source = worker.finder.reference(reference)
    worker.store.write(output_key("attempt-1", "made"), b"weighed")
    with pytest.raises(StoreError, match="SHA-256"):
        worker.stage(source)
    worker.store.write(output_key("attempt-1", "made"), b"weights")
    (path,) = worker.stage(source)
    assert Path(path).read_bytes() == b"weights"


def test_of_a_folder_without_a_manifest_only_executable_bits_cannot_be_proven(
    worker: Worker, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    worker.stage(worker.finder.reference(worker.sealed(made, manifest=False)))
    assert "which of its files are executable is not known" in caplog.text
    caplog.clear()
    (made / "deep/run.sh").chmod(0o644)
    worker.stage(worker.finder.reference(worker.sealed(made, manifest=False)))
    assert caplog.text == ""


@pytest.mark.parametrize("manifest", [True, False])
def test_an_empty_folder_is_an_empty_folder(worker: Worker, tmp_path: Path, manifest: bool) -> None:
    (tmp_path / "nothing").mkdir()
    reference = worker.sealed(tmp_path / "nothing", manifest=manifest)
    (path,) = worker.stage(worker.finder.reference(reference))
    assert list(Path(path).iterdir()) == []


def test_who_writes_into_a_shared_input_is_noticed(worker: Worker) -> None:
    source, inputs = worker.dataset(worker.put(a=b"a")), worker.attempt()
    (path,) = worker.stage(source, inputs=inputs)
    assert not Traces(inputs).is_spoilt("raw")
    Path(path, "a").chmod(0o644)
    Path(path, "a").write_bytes(b"A")
    assert Traces(inputs).is_spoilt("raw")
    (path,) = worker.stage(source)
    assert files_in(path) == {"a": b"a"}


@pytest.fixture
def inputs(worker: Worker) -> Iterator[Path]:
    """The folder of an attempt, nothing of which stays mounted."""
    folder = worker.attempt()
    yield folder
    Traces(folder).clear()


@needs_fuse
def test_a_mount_reads_from_the_server_and_nobody_can_write_to_it(worker: Worker, inputs: Path) -> None:
    large = os.urandom(9_000_000)
    names = {f"many__{number:02}": b"%d" % number for number in range(20)}
    (path,) = worker.stage(worker.dataset(worker.put(large=large, **names)), inputs=inputs, policy="auto")
    assert Path(path).parent.is_mount()
    assert worker.moved == 0
    assert files_in(path) == {
        "large": large,
        **{name.replace("__", "/"): text for name, text in names.items()},
    }
    with Path(path, "large").open("rb") as file:
        for offset in (8_999_990, 5_000_000, 0):
            file.seek(offset)
            assert file.read(100) == large[offset : offset + 100]
    with pytest.raises(OSError, match="Read-only file system"):
        Path(path, "large").write_bytes(b"")
    with pytest.raises(OSError, match="Read-only file system"):
        Path(path, "new").touch()
    Traces(inputs).clear()
    assert not Path(path).exists()


@needs_fuse
def test_a_mounted_file_that_is_another_by_now_cannot_be_opened(worker: Worker, inputs: Path) -> None:
    source = worker.dataset(worker.put(a=b"old", b=b"b"))
    (path,) = worker.stage(source, inputs=inputs, policy="auto")
    worker.put(a=b"new")
    with pytest.raises(OSError, match="Stale"):
        Path(path, "a").read_bytes()
    assert Path(path, "b").read_bytes() == b"b"


@pytest.mark.parametrize("service", ["s3", "blob"])
def test_a_mounted_file_that_becomes_another_while_it_is_open_is_not_read_on(
    service: str, request: pytest.FixtureRequest
) -> None:
    bucket: ObjectStore = request.getfixturevalue(service)
    path, size = f"{bucket.bucket}/raw/large", 9_000_000
    bucket.filesystem().pipe_file(path, b"o" * size)
    (listed,) = list_remote(Access(f"{bucket.url}/raw/large", bucket.options)).files
    file = MountedFile("large", f"{bucket.url}/raw/large", size, listed.stamp)
    mounted = MountedFiles(MountDocument("/mnt", [file], [bucket.options]))
    handle = mounted.open("/large", os.O_RDONLY)
    assert mounted.read("/large", 10, (4 << 20) - 5, handle) == b"o" * 10
    bucket.filesystem().pipe_file(path, b"n" * size)
    with pytest.raises(OSError, match="large"):
        mounted.read("/large", 10, size - 10, handle)


@needs_fuse
def test_what_a_mount_could_not_read_is_in_the_log_in_the_end(
    worker: Worker, inputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = worker.dataset(worker.put(a=b"a"))
    (path,) = worker.stage(source, inputs=inputs, policy="auto")
    (inputs.with_name("mounts") / "raw.log").write_text("s3://bucket/a cannot be read: refused\n")
    Traces(inputs).clear()
    assert "Input raw, while it was mounted: s3://bucket/a cannot be read: refused" in caplog.text
    assert not Path(path).exists()


@needs_fuse
def test_a_mount_outlives_its_worker_and_is_ended_by_the_next_one(worker: Worker, inputs: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from airflow_mlpipe.access import Access, resolve_with
from airflow_mlpipe.pipeline.mounting import mount
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.sources import SourceFinder
resolve_with(lambda url: Access(url, {worker.bucket.options!r}))
source = SourceFinder(Path("/"), HashCache(None)).dataset([{worker.put(a=b"a")!r}], None, "raw")
mount([("", place) for place in source.places], *Traces(Path({str(inputs)!r})).mount_point("raw"))
os.killpg(0, signal.SIGKILL)
"""
    dead = subprocess.run([sys.executable, "-c", code], start_new_session=True, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert files_in(inputs / "raw") == {"a": b"a"}
    Traces(inputs).clear()
    assert not (inputs / "raw").is_mount()


@needs_fuse
def test_a_mount_whose_process_was_killed_is_cleared_away(worker: Worker, inputs: Path) -> None:
    (path,) = worker.stage(worker.dataset(worker.put(a=b"a")), inputs=inputs, policy="auto")
    servers = subprocess.run(
        ["pgrep", "-f", mounted_files.__name__], capture_output=True, text=True, check=True
    ).stdout.split()
    (ours,) = [int(server) for server in servers if _is_child(int(server))]
    os.kill(ours, signal.SIGKILL)
    with pytest.raises(OSError, match=r"not connected|Software caused"):
        Path(path, "a").read_bytes()
    Traces(inputs).clear()
    assert list((inputs / "raw").iterdir()) == []


def _is_child(process: int) -> bool:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()


def test_where_fuse_does_not_work_the_data_is_downloaded_and_the_log_says_why(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(mounting, "_DEVICE", tmp_path / "nil")
    source = worker.dataset(worker.put(a=b"a"))
    for policy, level in (("auto", "INFO"), ("fuse", "WARNING")):
        caplog.clear()
        (path,) = worker.stage(source, policy=policy)  # type: ignore[arg-type]
        assert files_in(path) == {"a": b"a"}
        said = f"downloaded, not mounted, because {tmp_path}/nil cannot be used"
        assert [record.levelname for record in caplog.records if said in record.message] == [level]


def test_a_mount_that_fails_leaves_the_data_downloaded(
    worker: Worker, inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (path,) = worker.stage(worker.dataset(worker.put(a=b"a")), inputs=inputs, policy="auto")
    assert files_in(path) == {"a": b"a"}
    assert "downloaded, not mounted, because FUSE does not answer" in caplog.text
    assert not (inputs / "raw").is_mount()


def test_outputs_of_steps_are_never_mounted(
    worker: Worker, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worker.stage(worker.finder.reference(worker.sealed(made)), policy="fuse")
    assert "downloaded, not mounted, because outputs of steps" in caplog.text
