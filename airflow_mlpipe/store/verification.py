"""Whether the outputs that a manifest promises are still there, unharmed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import StoredFile
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.listing import ListingUnusable, entries_of
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput

Level = Literal["auto", "size", "digest", "none"]

_ENOUGH = 1000


@dataclass(frozen=True)
class Damage:
    """One thing wrong with one file of an output; *path* is relative to a folder output, "" is all of it."""

    output: str
    path: str
    problem: str

    def sentence(self) -> str:
        """For the log: ``output 'model': weights.bin is missing``, ``output 'model' is missing``."""
        return f"output {self.output!r}{self.path and f': {self.path}'} {self.problem}"


def verify(
    datastore: Datastore, manifest: Manifest, level: Level, cache: HashCache | None = None
) -> tuple[Damage, ...]:
    """What is wrong with the outputs of *manifest*, in order of output and path; empty when all is well.

    "size" lists the files: missing, of another size, or not of this output. "digest" also reads all bytes
    anew. "auto" is "size" on a remote store; on a local one it compares digests, and reads only files that
    *cache* does not know in the state they have. "none" trusts. After a thousand damages it looks no
    further. Raises StoreError when the store cannot be read.
    """
    damages = (
        damage
        for _, output in sorted(manifest.outputs.items())
        for damage in damages_of(datastore, output, level, cache)
    )
    return tuple(itertools.islice(damages, _ENOUGH))


def damages_of(
    datastore: Datastore, output: ManifestOutput, level: Level, cache: HashCache | None = None
) -> Iterator[Damage]:
    """What is wrong with one output, as ``verify`` finds it; raises as it does."""
    if level == "none":
        return
    path = datastore.local_path(output.key)
    if level == "size" or path is None:
        yield from _damages(datastore, output, read=level == "digest")
        return
    known = (cache if level == "auto" else None) or HashCache(None)
    if _is_as_sealed(datastore, output, known):
        return
    damages = list(itertools.islice(_damages(datastore, output, read=True), _ENOUGH))
    yield from damages
    # Files were looked at one by one, which leaves empty folders and executable bits.
    if not damages and (problem := _difference(path, output, known)) is not None:
        yield Damage(output.name, "", problem)


def _is_as_sealed(datastore: Datastore, output: ManifestOutput, cache: HashCache) -> bool:
    promised = {output.key: output.digest}
    if output.listing is not None:
        promised[output.listing.key] = output.listing.sha256
    try:
        return all(
            (path := datastore.local_path(key)) is not None and describe(path, cache).digest == digest
            for key, digest in promised.items()
        )
    except StoreError:
        return False


def _difference(path: Path, output: ManifestOutput, cache: HashCache) -> str | None:
    """What makes the output at *path* another than was sealed, in a few words; None when nothing does."""
    try:
        digest = describe(path, cache).digest
    except StoreError as error:
        return f"cannot be checked: {error}"
    if digest == output.digest:
        return None
    return "has an empty folder, or a file with an executable bit, that is not as it was sealed"


class _Promise(NamedTuple):
    """What a manifest says of one file; *size* in bytes."""

    key: str
    size: int
    digest: str


def _damages(datastore: Datastore, output: ManifestOutput, *, read: bool) -> Iterator[Damage]:
    is_empty = True
    try:
        for key, promise, file in _pairs(_promises(datastore, output), datastore.files(output.key)):
            is_empty = False
            if (problem := _problem(datastore, promise, file, read=read)) is not None:
                yield Damage(output.name, key.removeprefix(output.key).lstrip("/"), problem)
    except ListingUnusable as error:
        yield Damage(output.name, "", f"cannot be checked: {error}")
        return
    if output.kind == "directory" and is_empty and _is_gone(datastore, output):
        yield Damage(output.name, "", "is missing")


def _promises(datastore: Datastore, output: ManifestOutput) -> Iterator[_Promise]:
    if output.kind == "file":
        yield _Promise(output.key, output.size, output.digest)
    for entry in entries_of(datastore, output):
        yield _Promise(f"{output.key}/{entry.path}", entry.size, entry.digest)


def _pairs(
    promises: Iterator[_Promise], files: Iterator[StoredFile]
) -> Iterator[tuple[str, _Promise | None, StoredFile | None]]:
    """What is promised and what was found, by key; both come sorted by key."""
    promise, file = next(promises, None), next(files, None)
    while heads := [head.key for head in (promise, file) if head is not None]:
        key = min(heads)
        promised = promise if promise is not None and promise.key == key else None
        found = file if file is not None and file.key == key else None
        yield key, promised, found
        promise = promise if promised is None else next(promises, None)
        file = file if found is None else next(files, None)


def _problem(
    datastore: Datastore, promise: _Promise | None, file: StoredFile | None, *, read: bool
) -> str | None:
    if promise is None:
        return "is not part of it"
    if file is None:
        return "is missing"
    if file.size != promise.size:
        return f"has {file.size} bytes instead of {promise.size}"
    if read and (digest := datastore.digest(file.key)) != promise.digest:
        return f"has SHA-256 {digest} instead of {promise.digest}"
    return None


def _is_gone(datastore: Datastore, output: ManifestOutput) -> bool:
    """Whether a folder without files is missing; a remote store cannot tell, so there it never is."""
    path = datastore.local_path(output.key)
    return path is not None and not path.is_dir()
