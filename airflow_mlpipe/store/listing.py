"""The files of a folder output: in its manifest when they are few, else in a document of their own.

A listing is JSON lines: ``{"schema_version":1}`` first, then one file a line, sorted by path, with the fields
of :class:`~airflow_mlpipe.store.manifest.ManifestEntry`. It is written and read a line at a time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content, DirectoryDigest, Entry, sha256_stream
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.layout import listing_key, output_key
from airflow_mlpipe.store.manifest import ManifestEntry, ManifestListing, ManifestOutput
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import EmptyFolder

INLINE = 256
"""So many files are listed in the manifest itself."""


class ListingUnusable(DocumentError):
    """The listing of an output is missing or not the one that was sealed; the message says which."""


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: Literal[1]


def describe_output(
    datastore: Datastore,
    attempt: str,
    name: str,
    path: Path,
    cache: HashCache | None = None,
    progress: Progress | None = None,
) -> ManifestOutput | None:
    """The output *name* of *attempt* as it lies at *path*; None when it was not written.

    A listing that it needs is put into *datastore*. Raises StoreError as ``describe`` does, and for names
    that cannot be keys.
    """
    keys = output_key(attempt, name), listing_key(attempt, name)
    return describe_stored(datastore, name, *keys, path, cache, progress)


def describe_stored(
    datastore: Datastore,
    name: str,
    key: str,
    listing_at: str,
    path: Path,
    cache: HashCache | None = None,
    progress: Progress | None = None,
) -> ManifestOutput | None:
    """The same for what is kept at *key*, and a listing of it at *listing_at*."""
    return _described(
        datastore, name, key, listing_at, lambda keep: describe(path, cache, progress, keep=keep)
    )


def describe_leaves(
    datastore: Datastore, name: str, key: str, listing_at: str, leaves: Iterable[Entry | EmptyFolder]
) -> ManifestOutput | None:
    """The same for a folder at *key* whose *leaves* are known, and come in order of their paths."""

    def content(keep: Callable[[Entry], None]) -> Content:
        folder, size = DirectoryDigest(), 0
        for leaf in leaves:
            if isinstance(leaf, EmptyFolder):
                folder.add_empty_folder(leaf.path)
                continue
            folder.add_file(leaf.path, leaf.digest, executable=leaf.executable)
            size += leaf.size
            keep(leaf)
        return Content("directory", folder.hexdigest(), size)

    return _described(datastore, name, key, listing_at, content)


def _described(
    datastore: Datastore,
    name: str,
    key: str,
    listing_at: str,
    content_of: Callable[[Callable[[Entry], None]], Content],
) -> ManifestOutput | None:
    with tempfile.NamedTemporaryFile(prefix="mlpipe-listing-") as file:
        recorder = _Recorder(file)
        content = content_of(recorder.add)
        if content.kind == "missing":
            return None
        if recorder.files <= INLINE:
            return ManifestOutput.of(name, key, content, tuple(recorder.few))
        file.flush()
        listing = recorder.listing(listing_at)
        datastore.upload(Path(file.name), listing.key)
        return ManifestOutput.of(name, key, content, listing=listing)


def entries_of(datastore: Datastore, output: ManifestOutput) -> Iterator[ManifestEntry]:
    """The files of a folder output, sorted by path; none for an output that is one file.

    Raises ListingUnusable, as a rule before the first file, and StoreError when the store cannot be read.
    """
    if output.listing is None:
        yield from output.entries
        return
    with _opened(datastore, output.listing.key) as file:
        if (digest := sha256_stream(file)) != output.listing.sha256:
            raise ListingUnusable(
                f"its listing {output.listing.key} has SHA-256 {digest} instead of {output.listing.sha256}"
            )
        file.seek(0)
        yield from _parsed(file, output.listing)


class _Recorder:
    """Writes a listing to *file*, and keeps the first files in memory besides; they may be all."""

    def __init__(self, file: IO[bytes]) -> None:
        self.few: list[ManifestEntry] = []
        self.files = 0
        self._file = file
        self._digest = hashlib.sha256()
        self._write(_Header(schema_version=1))

    def add(self, entry: Entry) -> None:
        """Take the next file; StoreError when its path is no key."""
        listed = ManifestEntry(
            path=entry.path, size=entry.size, digest=entry.digest, executable=entry.executable
        )
        self.files += 1
        if self.files <= INLINE:
            self.few.append(listed)
        self._write(listed)

    def listing(self, key: str) -> ManifestListing:
        """What a manifest says of the listing, when it is kept at *key*."""
        return ManifestListing(key=key, sha256=self._digest.hexdigest(), files=self.files)

    def _write(self, record: BaseModel) -> None:
        line = record.model_dump_json().encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)


@contextmanager
def _opened(datastore: Datastore, key: str) -> Iterator[IO[bytes]]:
    """The file at *key*, if need be a copy of it."""
    path = datastore.local_path(key)
    with tempfile.TemporaryDirectory(prefix="mlpipe-listing-") if path is None else nullcontext() as folder:
        if path is None:
            if not datastore.exists(key):
                raise ListingUnusable(f"its listing {key} is missing")
            path = Path(str(folder), "listing")
            datastore.download(key, path)
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise ListingUnusable(f"its listing {key} is missing") from error
        except OSError as error:
            raise ListingUnusable(f"its listing {key} cannot be read: {error.strerror}") from error
        with file:
            yield file


def _parsed(file: IO[bytes], listing: ManifestListing) -> Iterator[ManifestEntry]:
    files, last = 0, ""
    try:
        _Header.model_validate_json(file.readline())
        for line in file:
            entry = ManifestEntry.model_validate_json(line)
            if entry.path <= last:
                raise ListingUnusable(f"its listing {listing.key} has {entry.path!r} after {last!r}")
            files, last = files + 1, entry.path
            yield entry
    except (ValidationError, StoreError) as error:
        raise ListingUnusable(f"its listing {listing.key} is unreadable after {last!r}: {error}") from error
    if files != listing.files:
        raise ListingUnusable(f"its listing {listing.key} has {files} files instead of {listing.files}")
