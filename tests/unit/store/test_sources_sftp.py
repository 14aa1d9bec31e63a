"""Data on an SFTP server, which tells times of change and no etags."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mlpipe.access import Access, as_it_is, resolve_with
from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.remote_listing import remote_files
from airflow_mlpipe.store.sources import Source, SourceFinder
from airflow_mlpipe.store.transfer.download import Downloader
from tests.sshd import SSHD, running_sshd

pytest.importorskip("paramiko")
pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """An SFTP server for the files of this machine."""
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        login = {"port": server.port, "username": server.user, "key_filename": str(server.user_key)}
        yield Access("sftp://127.0.0.1", {**login, "allow_agent": False, "look_for_keys": False})


@pytest.fixture
def raw(server: Access, tmp_path: Path) -> Iterator[Path]:
    """A folder on the server, written long ago."""
    (tmp_path / "raw/deep").mkdir(parents=True)
    (tmp_path / "raw/a.csv").write_bytes(b"a")
    (tmp_path / "raw/deep/b.csv").write_bytes(b"bb")
    for file in (tmp_path / "raw").rglob("*.csv"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    resolve_with(lambda url: Access(url, server.options))
    yield tmp_path / "raw"
    resolve_with(as_it_is)


def look(path: Path, identity: str | None = None) -> Source:
    finder = SourceFinder(path, HashCache(None))
    return finder.dataset([f"sftp://127.0.0.1{path}"], identity, "input raw")  # type: ignore[arg-type]


def test_files_are_the_same_while_their_sizes_and_times_are(raw: Path) -> None:
    before = look(raw)
    assert before.undetermined is None
    assert [file.path for place in before.places for file in place.files or ()] == ["a.csv", "deep/b.csv"]
    assert look(raw).digest == before.digest
    (raw / "a.csv").write_bytes(b"A")
    os.utime(raw / "a.csv", (1_700_000_001, 1_700_000_001))
    assert look(raw).digest != before.digest


def test_a_file_that_was_written_a_moment_ago_identifies_nothing(raw: Path) -> None:
    (raw / "a.csv").write_bytes(b"A")
    assert "was changed, and that is a moment ago" in (look(raw).undetermined or "")


def test_by_content_files_are_the_same_as_on_a_disk(raw: Path, tmp_path: Path) -> None:
    local = SourceFinder(tmp_path, HashCache(None)).dataset(["raw"], None, "input raw")
    assert look(raw, "content").digest == local.digest
    assert look(raw / "deep/b.csv", "content").kind == "file"


def test_files_come_as_they_are(raw: Path, tmp_path: Path) -> None:
    (place,) = look(raw).places
    targets = [tmp_path / "here/a", tmp_path / "here/b"]
    files = remote_files(place.uri, place.files or ())
    downloader = Downloader(None, RemoteDigests(HashCache(None)), Progress.silent())
    downloader.fetch(zip(files, targets, strict=True), own=True)
    assert [target.read_bytes() for target in targets] == [b"a", b"bb"]


def test_a_link_to_a_file_is_that_file_and_one_to_a_folder_is_refused(raw: Path) -> None:
    (raw / "link.csv").symlink_to(raw / "deep/b.csv")
    (place,) = look(raw).places
    assert [(file.path, file.size) for file in place.files or ()][-1] == ("link.csv", 2)
    (raw / "folder").symlink_to(raw / "deep")
    with pytest.raises(StoreError, match=r"folder at .* is a link to a folder; name that folder"):
        look(raw)


def test_nothing_there_is_said(raw: Path) -> None:
    with pytest.raises(UserError, match="nothing is at"):
        look(raw / "nil")
