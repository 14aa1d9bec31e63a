"""What lies at a place, and what has changed there since somebody was last told."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.access import Access, access_to
from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.store.atomic import is_temporary
from airflow_mlpipe.store.layout import EMPTY_FOLDER
from airflow_mlpipe.store.remote_listing import is_pattern, leaf_of, list_remote
from airflow_mlpipe.store.tree import TreeFile, walk


@dataclass(frozen=True)
class ChangeSet:
    """Paths of files that came, were written anew, and went, each sorted; it is false when there are none."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def between(cls, before: Snapshot, after: Snapshot) -> ChangeSet:
        """What must have happened from *before* to *after*."""
        old, new = before.stamps, after.stamps
        return cls(
            tuple(sorted(new.keys() - old.keys())),
            tuple(sorted(path for path in new.keys() & old.keys() if new[path] != old[path])),
            tuple(sorted(old.keys() - new.keys())),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    @property
    def present(self) -> tuple[str, ...]:
        """What was added or changed: the paths at which there is something to read."""
        return tuple(sorted((*self.added, *self.changed)))

    def then(self, later: ChangeSet) -> ChangeSet:
        """This change and a *later* one as one: what came and went again is in neither."""
        added = {*self.added} - {*later.removed} | {*later.added} - {*self.removed}
        removed = {*self.removed} - {*later.added} | {*later.removed} - {*self.added}
        again = {*self.removed} & {*later.added}
        changed = ({*self.changed, *later.changed} | again) - added - removed
        return ChangeSet(tuple(sorted(added)), tuple(sorted(changed)), tuple(sorted(removed)))


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1]
    root: str
    files: dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """The files at a place: their paths below *root*, an address, each with a stamp.

    A file that is written anew has another stamp; two files with the same bytes may have different ones.
    With *appears_whole* nobody ever sees half a file there, as in an object store.
    """

    root: str
    stamps: Mapping[str, str]
    appears_whole: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 of paths and stamps: equal for equal files, wherever they lie."""
        return hashlib.sha256(json.dumps(sorted(self.stamps.items())).encode()).hexdigest()

    def address(self, path: str) -> str:
        """Where the file *path* lies."""
        return f"{self.root.rstrip('/')}/{path}"

    def settled(self, later: Snapshot, told: Snapshot) -> Snapshot:
        """What of these files is still so in *later*; of those that moved in between, what *told* had."""
        paths = {*self.stamps, *later.stamps, *told.stamps}
        sources = {path: self if self.stamps.get(path) == later.stamps.get(path) else told for path in paths}
        stamps = {path: found.stamps[path] for path, found in sources.items() if path in found.stamps}
        return Snapshot(self.root, stamps, self.appears_whole)

    def to_bytes(self) -> bytes:
        """The snapshot as a compressed JSON document."""
        document = _Document(schema_version=1, root=self.root, files=dict(self.stamps))
        return gzip.compress(document.model_dump_json().encode(), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Read what :meth:`to_bytes` wrote; DocumentError for anything else."""
        try:
            document = _Document.model_validate_json(gzip.decompress(data))
        except (OSError, EOFError, ValidationError) as error:
            raise DocumentError(f"the listing of a watched place cannot be read: {error}") from error
        return cls(document.root, document.files)


NOTHING = Snapshot("", {})


def look(address: str) -> Snapshot:
    """The files at *address* as they are now, those in subfolders included; none when nothing is there.

    An address is an absolute path, a URL, or a place in a named datastore: a file, a folder, or a glob as in
    ``Dataset.File.from_files``. Raises StoreError when it cannot be told what is there.
    """
    access = access_to(address)
    local = _local_path(access.url)
    if local is None:
        return _remote(address, access)
    try:
        return Snapshot(_root(address, is_file=local.is_file()), dict(_local(local)))
    except FileNotFoundError:
        return Snapshot(_root(address, is_file=False), {})
    except OSError as error:
        raise StoreError(f"{address} cannot be listed: {error}; check its permissions") from error


def news(
    address: str, told: Snapshot, *, settle: float, pause: Callable[[float], object] = time.sleep
) -> Snapshot | None:
    """What is to be told of *address* to one who was told *told*; None when there is nothing new.

    Files that may be seen half written are told when they are the same *settle* seconds later; until then
    they count as they were. A place where nothing is any more tells nothing: a disk that is not mounted looks
    just so. Raises StoreError as :func:`look`.
    """
    now = look(address)
    if not (now.stamps and ChangeSet.between(told, now)):
        return None
    if settle > 0 and not now.appears_whole:
        pause(settle)
        now = now.settled(look(address), told)
    return now if ChangeSet.between(told, now) else None


def _local_path(url: str) -> Path | None:
    """The path that *url* is, None when it is of a server. Raises StoreError for a relative path."""
    if "://" in url and not url.startswith("file://"):
        return None
    path = Path(url.removeprefix("file://"))
    if not path.is_absolute():
        raise StoreError(
            f"{url!r} is a relative path, and nobody knows where it starts; write an absolute one"
        )
    return path


def _local(path: Path) -> Iterator[tuple[str, str]]:
    if glob.has_magic(str(path)):
        root = Path(_root(str(path), is_file=False))
        for name in glob.iglob(str(path), recursive=True):  # noqa: PTH207 - takes absolute ones
            status = _status(name)
            if status is not None and stat.S_ISREG(status.st_mode):
                yield Path(name).relative_to(root).as_posix(), _local_stamp(status)
    elif path.is_dir():
        for entry in walk(path, refuse=lambda refusal: None, skip=is_temporary):
            if isinstance(entry, TreeFile):
                yield entry.path, _local_stamp(entry.status)
    else:
        yield path.name, _local_stamp(path.stat())


def _status(name: str) -> os.stat_result | None:
    """That of a file that was there a moment ago; None when it is not any more."""
    try:
        return os.stat(name)  # noqa: PTH116 - a text, of which there may be many
    except FileNotFoundError:
        return None


def _local_stamp(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _remote(address: str, access: Access) -> Snapshot:
    listing = list_remote(access)
    files = [file for file in listing.files if leaf_of(file.path) != EMPTY_FOLDER]
    stamps = {file.path or address.rpartition("/")[2]: f"{file.size} {file.stamp}" for file in files}
    # A time of change is all that is known of files on servers that are like disks.
    whole = all(file.stamp is not None and file.changed_at is None for file in files)
    return Snapshot(_root(address, is_file=listing.is_file), stamps, whole)


def _root(address: str, *, is_file: bool) -> str:
    """The folder at which the paths of the files at *address* start."""
    root = address.rstrip("/")
    if is_file:
        return root.rpartition("/")[0]
    while is_pattern(root):
        root = root.rpartition("/")[0]
    return root
