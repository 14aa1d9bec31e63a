"""Digests of content: equal for equal bytes, whatever the place, the times or the order of creation.

A file's digest is the SHA-256 of its bytes, as ``sha256sum`` prints it. A folder's is the SHA-256 of a
header and, for every file and every empty folder in order of its path, one record::

    kind (1 byte: F file, X executable file, D empty folder)
    length of the path in UTF-8 (8 bytes, big endian), the path
    digest of the file (32 bytes; not for D)

Every record says how long it is, so that no two different trees encode to the same bytes.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import BLOCK, read_tree

_HEADER = b"mlpipe directory 1\n"
MISSING_DIGEST = hashlib.sha256(b"mlpipe missing 1\n").hexdigest()


@dataclass(frozen=True)
class Entry:
    """One file of a folder: posix path below it, bytes, SHA-256 in hex, the owner's executable bit."""

    path: str
    size: int
    digest: str
    executable: bool


@dataclass(frozen=True)
class Content:
    """What lies at a path. *size* is in bytes; *entries* are the files of a folder, sorted by path."""

    kind: Literal["file", "directory", "missing"]
    digest: str
    size: int
    entries: tuple[Entry, ...] = ()


def describe(path: Path, file_digest: Callable[[Path], str], progress: Progress | None = None) -> Content:
    """The content at *path*, with *file_digest* to digest one file (see :func:`sha256_file`).

    Nothing there is content of kind "missing". The executable bit of a file counts inside a folder, not
    for a single file. Raises StoreError for what cannot be read, and for entries that
    :func:`~airflow_mlpipe.store.tree.read_tree` refuses.
    """
    progress = progress or Progress.silent()
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise StoreError(
                f"the link {path} leads to {path.readlink()}, which does not exist; remove the link"
            ) from error
        return Content("missing", MISSING_DIGEST, 0)
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        return _describe_directory(path, file_digest, progress)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is neither a file nor a folder; give one that is")
    progress.expect(status.st_size)
    digest = _digest_of(path, file_digest)
    progress.advance(status.st_size)
    return Content("file", digest, status.st_size)


def directory_digest(entries: tuple[Entry, ...], empty_directories: tuple[str, ...] = ()) -> str:
    """The digest, in hex, of a folder with these files and these folders without any entry."""
    records = {
        entry.path: (b"X" if entry.executable else b"F", bytes.fromhex(entry.digest)) for entry in entries
    }
    records.update(dict.fromkeys(empty_directories, (b"D", b"")))
    digest = hashlib.sha256(_HEADER)
    for path, (kind, content) in sorted(records.items()):
        name = path.encode()
        digest.update(kind + len(name).to_bytes(8, "big") + name + content)
    return digest.hexdigest()


def sha256_file(path: Path, read: Callable[[int], None] = lambda size: None) -> str:
    """The SHA-256 of a file's bytes in hex; *read* is told the size of each block. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return sha256_stream(file, read)


def sha256_stream(file: Any, read: Callable[[int], None] = lambda size: None) -> str:
    """The SHA-256, in hex, of what is left to read of an open binary *file*, in blocks as above."""
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
        read(len(block))
    return digest.hexdigest()


def _describe_directory(path: Path, file_digest: Callable[[Path], str], progress: Progress) -> Content:
    tree = read_tree(path)
    progress.expect(tree.size)
    entries = []
    for file in tree.files:
        entries.append(Entry(file.path, file.size, _digest_of(file.source, file_digest), file.executable))
        progress.advance(file.size)
    digest = directory_digest(tuple(entries), tree.empty_directories)
    return Content("directory", digest, tree.size, tuple(entries))


def _digest_of(path: Path, file_digest: Callable[[Path], str]) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot read {path}: {error.strerror}; check that it is there and its permissions")
