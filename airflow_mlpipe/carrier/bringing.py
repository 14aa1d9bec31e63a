"""Fetching the code and the inputs of an attempt to the machine that it runs on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import StoreError, TargetError, UserError
from airflow_mlpipe.records import Carriage, CarriedFile, CarriedInput, DataInPlace
from airflow_mlpipe.store.atomic import arriving, remove
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import MISSING_DIGEST, DirectoryDigest, sha256_file
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.parallel import default_threads, in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.snapshot import unpack
from airflow_mlpipe.store.tree import copy

_FILE = "file://"
# What a machine that keeps the folders of several attempts holds locked in each as long as it runs.
_LOCK = "lock"
_MOUNT_IT = "mount the worker's disk under the same path"


def store_at(url: str) -> Datastore:
    """The folder at *url* as a datastore. Raises StoreError, also when its driver is not installed."""
    access = access_to(url)
    try:
        return Datastore.open(access.url, **access.options)
    except ImportError as error:
        raise StoreError(f"cannot open {url}: its driver is not installed ({error})") from error


def fetch_code(carriage: Carriage, folder: Path) -> None:
    """Unpack the snapshot of the step's code into the new *folder*. Raises StoreError."""
    above, _, name = carriage.snapshot_url.rpartition("/")
    archive = store_at(above).read(name)
    if archive is None:
        raise StoreError(f"the code of the step is not at {carriage.snapshot_url} any more")
    if (digest := hashlib.sha256(archive).hexdigest()) != carriage.snapshot_digest:
        raise StoreError(
            f"the code of the step at {carriage.snapshot_url} has SHA-256 {digest} instead of "
            f"{carriage.snapshot_digest}: it is damaged, delete it"
        )
    remove(folder)
    unpack(archive, folder)


class InputFetcher:
    """Puts inputs below *folder*, which is in that of the attempt, and says how far it is."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._links: dict[Path, str] = {}

    def fetch(self, carriage: Carriage) -> None:
        """Fetch all inputs anew, each file checked as its :class:`CarriedFile` says.

        Raises StoreError for what cannot be had or is damaged, TargetError for a disk that is not mounted, or
        that is another one than the worker's, and UserError when a link cannot be made.
        """
        for name, data in carriage.in_place.items():
            self._compare_in_place(name, data)
        remove(self._folder)
        for name, parts in carriage.inputs.items():
            self._fetch(name, parts)
        for link, target in carriage.links.items():
            self._link(Path(link), target)

    def unlink(self) -> None:
        """Remove the links outside of the folder; twice is fine."""
        for link, target in self._links.items():
            with suppress(OSError):
                if link.readlink() == Path(target):
                    link.unlink()
        self._links.clear()

    def _compare_in_place(self, name: str, data: DataInPlace) -> None:
        path = Path(data.path)
        if data.digest != MISSING_DIGEST and not path.exists():
            raise TargetError(f"{path} is not there: {_MOUNT_IT}")
        if data.digest is None:
            return
        # On demand: this needs Python's sqlite3, which a step without such inputs can do without.
        from airflow_mlpipe.store.hash_cache import HashCache
        from airflow_mlpipe.store.hashing import describe

        cache = HashCache(None, say=self._say)
        found = describe(path, cache, Progress(f"comparing input {name}", self._say)).digest
        if found != data.digest:
            raise _other_data(name, data.path, found, data.digest)

    def _fetch(self, name: str, parts: Sequence[CarriedInput]) -> None:
        progress = Progress(f"fetching input {name}", self._say)
        served: dict[bool, list[tuple[CarriedFile, Path]]] = {True: [], False: []}
        linked: dict[Path, CarriedFile] = {}
        digests: dict[Path, str] = {}
        for part in parts:
            root = self._checked(part)
            for folder in part.empty_folders if part.files else ("", *part.empty_folders):
                (root / (folder and check_key(folder))).mkdir(parents=True, exist_ok=True)
            for file in part.files:
                target = root / check_key(file.path) if file.path else root
                if not file.url.startswith(_FILE):
                    served[part.writable].append((file, target))
                elif part.writable:
                    digests[target] = _copied(file, target, progress)
                else:
                    _put_link(file, target)
                    if part.digest is not None or file.digest is not None:
                        linked[target] = file
        for writable, files in served.items():
            if files:
                digests.update(_downloaded(files, progress, writable=writable))
        digests.update(_read(linked, Progress(f"comparing input {name}", self._say)))
        for part in parts:
            self._compare(name, part, digests)

    def _checked(self, part: CarriedInput) -> Path:
        """The path of *part*, which comes from outside."""
        path = Path(part.path)
        if self._folder not in path.parents or ".." in path.parts:
            raise StoreError(
                f"an input is to be put at {part.path}, out of {self._folder}; run the step anew"
            )
        return path

    def _compare(self, name: str, part: CarriedInput, digests: dict[Path, str]) -> None:
        if part.digest is None or (found := _digest(part, digests)) is None or found == part.digest:
            return
        if any(file.url.startswith(_FILE) for file in part.files):
            raise _other_data(name, part.path, found, part.digest)
        # Object stores keep no executable bits, which the digest of a folder counts.
        self._say(
            f"input {name} could not be compared with its digest: which of its files are executable is not "
            "known, because no manifest lists them"
        )

    def _link(self, link: Path, target: str) -> None:
        """Make the link that an author wants for an input, also where one was left by a killed attempt."""
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink() and self._is_left_over(link, target):
                link.unlink()
            link.symlink_to(target)
        except OSError as error:
            raise UserError(
                f"an input cannot be put at {link}: {error.strerror}; if another step uses that path now, "
                "let the target choose it, or give the steps a pool of one slot"
            ) from error
        self._links[link] = target

    def _is_left_over(self, link: Path, target: str) -> bool:
        """Whether *link* leads nowhere, or to inputs of an attempt of ours that does not run any more."""
        there = link.readlink()
        if there == Path(target) or not link.exists():
            return True
        attempts = self._folder.parent.parent
        if attempts not in there.parents or ".." in there.parts:
            return False
        attempt, *inside = there.relative_to(attempts).parts
        return inside[:1] == [self._folder.name] and _is_let_go(attempts / attempt / _LOCK)


def _is_let_go(lock: Path) -> bool:
    """Whether there is a file *lock* that no process holds locked. Raises OSError if that cannot be told."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _downloaded(
    files: Sequence[tuple[CarriedFile, Path]], progress: Progress, *, writable: bool
) -> dict[Path, str]:
    """Fetch *files* from their servers to the paths; the SHA-256 of each."""
    # On demand: a machine that has the datastore mounted can do without all of this.
    from airflow_mlpipe.store.hash_cache import HashCache
    from airflow_mlpipe.store.remote_digests import RemoteDigests
    from airflow_mlpipe.store.transfer.download import Downloader
    from airflow_mlpipe.store.transfer.remote_file import RemoteFile

    wanted = [
        (RemoteFile(file.url, file.size, file.stamp, file.digest, file.executable), target)
        for file, target in files
    ]
    downloader = Downloader(None, RemoteDigests(HashCache(None)), progress)
    return dict(zip((target for _, target in files), downloader.fetch(wanted, own=writable), strict=True))


def _put_link(file: CarriedFile, target: Path) -> None:
    """Put at *target* a link to a file of a mounted disk."""
    source = _source(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def _read(linked: Mapping[Path, CarriedFile], progress: Progress) -> dict[Path, str]:
    """The SHA-256 of each of the files to which there are links; of some it is known what it must be."""
    advancing = threading.Lock()

    def digest_of(file: CarriedFile, checkpoint: Callable[[], None]) -> str:
        def count(size: int) -> None:
            checkpoint()
            with advancing:
                progress.advance(size)

        source = _source(file)
        try:
            digest = sha256_file(source, count)
        except OSError as error:
            raise StoreError(f"{source} cannot be read: {error}") from error
        if file.digest not in (None, digest):
            raise StoreError(f"{source} has SHA-256 {digest} instead of {file.digest}; it was changed")
        return digest

    progress.expect(sum(file.size or 0 for file in linked.values()))
    with closing(in_order(digest_of, linked.values(), default_threads())) as digests:
        return dict(zip(linked, digests, strict=True))


def _copied(file: CarriedFile, target: Path, progress: Progress) -> str:
    """Copy a file of a mounted disk; its SHA-256."""
    source = _source(file)
    try:
        with arriving(target) as temporary:
            copy(source, temporary, progress)
            digest = sha256_file(temporary)
            if file.digest not in (None, digest):
                raise StoreError(f"{source} has SHA-256 {digest} instead of {file.digest}; it was changed")
    except OSError as error:
        raise StoreError(f"{source} cannot be copied to {target}: {error}") from error
    return digest


def _source(file: CarriedFile) -> Path:
    """Where a file of a mounted disk lies. Raises TargetError when it is not there in its size."""
    source = Path(file.url.removeprefix(_FILE))
    if not source.is_file():
        raise TargetError(f"{source} is not there: {_MOUNT_IT}")
    if file.size not in (None, source.stat().st_size):
        raise TargetError(
            f"{source} has not {file.size} bytes: {_MOUNT_IT}, or start the step anew if the file was changed"
        )
    return source


def _other_data(name: str, path: str, found: str, wanted: str) -> TargetError:
    return TargetError(
        f"input {name} at {path} has digest {found} instead of {wanted}, which it has for the worker: "
        f"{_MOUNT_IT}, or start the step anew if the data was changed"
    )


def _digest(part: CarriedInput, digests: Mapping[Path, str]) -> str | None:
    """The digest of the file or folder that came; None when not all of it was read."""
    root, folder = Path(part.path), DirectoryDigest()
    if [file.path for file in part.files] == [""]:
        return digests.get(root)
    leaves: list[tuple[str, CarriedFile | None]] = [(file.path, file) for file in part.files]
    leaves += [(path, None) for path in part.empty_folders]
    for path, file in sorted(leaves, key=lambda leaf: leaf[0]):
        if file is None:
            folder.add_empty_folder(path)
        elif (digest := digests.get(root / path)) is None:
            return None
        else:
            folder.add_file(path, digest, executable=file.executable)
    return folder.hexdigest()
