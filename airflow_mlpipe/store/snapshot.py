"""Archives of code that are equal for equal files: one snapshot, one digest, on every machine."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.tree import BLOCK

# Fixed: another level gives other bytes for the same files.
_COMPRESSION = 6
_LARGEST = 2 << 30


@dataclass(frozen=True)
class SnapshotFile:
    """The bytes of a file and whether it may be executed."""

    data: bytes
    executable: bool = False


def pack(files: Mapping[str, SnapshotFile]) -> bytes:
    """A tar.gz of *files* by posix path: names sorted, times and owners zero, modes 0644 and 0755.

    Equal files give equal bytes as long as zlib is the same. Raises StoreError for a path that is no key.
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=buffer, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, file in sorted(files.items()):
            member = tarfile.TarInfo(check_key(path))
            member.size = len(file.data)
            member.mode = 0o755 if file.executable else 0o644
            archive.addfile(member, io.BytesIO(file.data))
    return buffer.getvalue()


def unpack(data: bytes, destination: Path, *, limit: int = _LARGEST) -> None:
    """Unpack what :func:`pack` made into the folder *destination*, which must be free or empty.

    Every member is checked before any is written: a regular file with a relative path, *limit* bytes in
    all. Raises StoreError and then leaves nothing behind.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive, arriving(destination) as folder:
            members = list(_checked(archive, limit))
            folder.mkdir()
            for member in members:
                _write(archive, member, folder / member.name)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise StoreError(
            f"cannot unpack a code snapshot into {destination}: {error}; "
            "give a whole archive and a free folder"
        ) from error


def read_files(data: bytes, names: Collection[str], *, largest: int) -> dict[str, bytes]:
    """The files *names* of what :func:`pack` made, each cut after *largest* bytes; not all need be in it.

    Raises StoreError for an archive that cannot be read.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            # Each is read where it is met: going back would unpack everything before it once more.
            return {
                member.name: _opened(archive, member).read(largest)
                for member in archive
                if member.name in names
            }
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise StoreError(f"cannot read a code snapshot: {error}; it is damaged, delete it") from error


def _checked(archive: tarfile.TarFile, limit: int) -> Iterator[tarfile.TarInfo]:
    total = 0
    for member in archive:
        check_key(member.name)
        if not member.isreg() or member.issparse():
            raise StoreError(f"{member.name!r} in a code snapshot is not a regular file; pack files only")
        total += member.size
        if total > limit:
            raise StoreError(f"a code snapshot holds more than {limit} bytes; ignore the large files")
        yield member
    # Only the end of the stream tells whether its checksum is right.
    while archive.fileobj is not None and archive.fileobj.read(BLOCK):
        pass


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(_opened(archive, member), target)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = archive.extractfile(member)
    if source is None:
        raise StoreError(f"{member.name!r} in a code snapshot has no content; pack it again")
    return source
