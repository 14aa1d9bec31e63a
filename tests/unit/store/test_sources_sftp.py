"""Data on an SFTP server, which tells times of change and no etags."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
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

paramiko = pytest.importorskip("paramiko")
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """An SFTP server for the files of this machine."""
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        paramiko.RSAKey.generate(2048).write_private_key_file(str(folder / name))
    key = paramiko.RSAKey(filename=str(folder / "user"))
    (folder / "authorized").write_text(f"{key.get_name()} {key.get_base64()}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
        "ListenAddress": f"127.0.0.1:{port}",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in
    assert SSHD is not None
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    login = {"port": port, "username": getpass.getuser(), "key_filename": str(folder / "user")}
    try:
        _wait_for(port)
        yield Access("sftp://127.0.0.1", {**login, "allow_agent": False, "look_for_keys": False})
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


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
