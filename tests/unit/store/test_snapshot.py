from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.snapshot import SnapshotFile, pack, read_files, unpack

FILES = {
    "train.py": SnapshotFile(b"print('hello')\n"),
    "bin/run": SnapshotFile(b"#!/bin/sh\n", executable=True),
    f"{'long' * 40}/ü.txt": SnapshotFile(b"x" * 1000),
}


def archive(*members: tarfile.TarInfo, data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_single_files_are_read_as_far_as_they_are_wanted_and_there() -> None:
    found = read_files(pack(FILES), ["bin/run", "train.py", "no.py"], largest=9)
    assert found == {"bin/run": b"#!/bin/sh", "train.py": b"print('he"}


@pytest.mark.parametrize("data", [b"", b"x", pack(FILES)[:60]])
def test_no_file_is_read_from_what_is_no_archive(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot read a code snapshot"):
        read_files(data, ["train.py"], largest=9)


def test_a_member_that_is_no_file_is_not_read() -> None:
    folder = tarfile.TarInfo("train.py")
    folder.type = tarfile.DIRTYPE
    with pytest.raises(StoreError, match=r"'train\.py' in a code snapshot has no content"):
        read_files(archive(folder), ["train.py"], largest=9)


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    unpack(pack(FILES), tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix(): SnapshotFile(
            path.read_bytes(), os.access(path, os.X_OK)
        )
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == FILES


def test_the_bytes_inside_the_archive_are_pinned() -> None:
    assert (
        hashlib.sha256(gzip.decompress(pack(FILES))).hexdigest()
        == "fe3b61b0565a2603f49b22bb4f395c6e76d48ed64c6c8c0f4d41f3dfd5dbc122"
    )
    assert pack(FILES)[:10].hex() == "1f8b08000000000000ff"


def test_order_and_hash_seed_do_not_count() -> None:
    assert pack(dict(reversed(FILES.items()))) == pack(FILES)
    code = (
        "import hashlib; from airflow_mlpipe.store.snapshot import *;"
        "print(hashlib.sha256(pack({n: SnapshotFile(n.encode()) for n in {'a','b','c','d'}})).hexdigest())"
    )
    digests = {
        subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in "123"
    }
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a\\b"])
def test_a_member_that_would_land_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="rename it"):
        unpack(archive(tarfile.TarInfo("good"), tarfile.TarInfo(name)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_a_member_that_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("member")
    member.type = kind
    member.linkname = "/etc/passwd"
    with pytest.raises(StoreError, match="not a regular file"):
        unpack(archive(member), tmp_path / "out")


def test_an_archive_that_grows_too_large_is_refused(tmp_path: Path) -> None:
    data = archive(tarfile.TarInfo("a"), tarfile.TarInfo("b"), data=b"0" * 60)
    unpack(data, tmp_path / "fits", limit=120)
    with pytest.raises(StoreError, match="more than 119 bytes"):
        unpack(data, tmp_path / "out", limit=119)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "data", [b"", b"no archive", pack(FILES)[:-20], archive(tarfile.TarInfo("a"), tarfile.TarInfo("a/b"))]
)
def test_a_broken_archive_leaves_nothing_behind(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot unpack"):
        unpack(data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_not_mixed_with_a_snapshot(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    with pytest.raises(StoreError, match="free folder"):
        unpack(pack(FILES), tmp_path)
    assert (tmp_path / "other").read_text() == "mine"
