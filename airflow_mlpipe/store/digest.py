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
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.tree import BLOCK

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
    """What lies at a path. *size* is in bytes, of a folder those of its files."""

    kind: Literal["file", "directory", "missing"]
    digest: str
    size: int


class DirectoryDigest:
    """The digest of a folder, made from its files and empty folders one by one, in order of their paths.

    The ``add`` methods raise StoreError for a path out of order: the folder changed while it was listed.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256(_HEADER)
        self._last = ""

    def add_file(self, path: str, digest: str, *, executable: bool) -> None:
        """Add a file by the *digest* of its bytes, in hex."""
        self._add(b"X" if executable else b"F", path, bytes.fromhex(digest))

    def add_empty_folder(self, path: str) -> None:
        """Add a folder without any entry."""
        self._add(b"D", path, b"")

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._digest.hexdigest()

    def _add(self, kind: bytes, path: str, content: bytes) -> None:
        if path <= self._last:
            raise StoreError(f"{path} came or went while its folder was read; let nothing write there")
        self._last = path
        name = path.encode()
        self._digest.update(kind + len(name).to_bytes(8, "big") + name + content)


def sha256_file(path: str | os.PathLike[str], read: Callable[[int], None] = lambda size: None) -> str:
    """The SHA-256 of a file's bytes in hex; *read* is told the size of each block. Raises OSError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the path may be a text
        return sha256_descriptor(file.fileno(), read)


def sha256_descriptor(descriptor: int, read: Callable[[int], None]) -> str:
    """The SHA-256, in hex, of what is left to read of an open file, in blocks as above. Raises OSError."""
    return _sha256(lambda size: os.read(descriptor, size), read)


def sha256_stream(file: Any, read: Callable[[int], None] = lambda size: None) -> str:
    """The SHA-256, in hex, of what is left to read of an open binary *file*, in blocks as above."""
    return _sha256(file.read, read)


def _sha256(block_of: Callable[[int], bytes], read: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    while block := block_of(BLOCK):
        digest.update(block)
        read(len(block))
    return digest.hexdigest()
