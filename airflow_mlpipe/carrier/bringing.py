"""Fetching the code and the inputs of an attempt to the machine that it runs on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import StoreError, TargetError, UserError
from airflow_mlpipe.records import Carriage, CarriedFile, CarriedInput
from airflow_mlpipe.store.atomic import arriving, remove
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import DirectoryDigest, sha256_file
from airflow_mlpipe.store.layout import check_key
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.snapshot import unpack
from airflow_mlpipe.store.tree import copy

_FILE = "file://"


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
    """Puts inputs below *folder*, and says how far it is."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def fetch(self, carriage: Carriage) -> None:
        """Fetch all inputs anew, each file checked as its :class:`CarriedFile` says.

        Raises StoreError for what cannot be had or is damaged, TargetError for a disk that is not mounted,
        and UserError when a link cannot be made.
        """
        remove(self._folder)
        for name, parts in carriage.inputs.items():
            self._fetch(name, parts)
        for link, target in carriage.links.items():
            _link(Path(link), target)

    def _fetch(self, name: str, parts: Sequence[CarriedInput]) -> None:
        progress = Progress(f"fetching input {name}", self._say)
        served: dict[bool, list[tuple[CarriedFile, Path]]] = {True: [], False: []}
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
                    digests[target] = _copied(file, target)
                else:
                    _put_link(file, target)
        for writable, files in served.items():
            if files:
                digests.update(_downloaded(files, progress, writable=writable))
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
        if part.digest is None or (found := _folder_digest(part, digests)) is None or found == part.digest:
            return
        # Object stores keep no executable bits, which the digest of a folder counts.
        self._say(
            f"input {name} could not be compared with its digest: which of its files are executable is not "
            "known, because no manifest lists them"
        )


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
    source = Path(file.url.removeprefix(_FILE))
    if not source.is_file():
        raise TargetError(f"{source} is not there: mount the worker's disk under the same path")
    if file.size not in (None, source.stat().st_size):
        raise StoreError(f"{source} has not {file.size} bytes; it was changed, or is on another disk")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def _copied(file: CarriedFile, target: Path) -> str:
    """Copy a file of a mounted disk; its SHA-256."""
    source = Path(file.url.removeprefix(_FILE))
    try:
        with arriving(target) as temporary:
            copy(source, temporary, Progress.silent())
            digest = sha256_file(temporary)
            if file.digest not in (None, digest):
                raise StoreError(f"{source} has SHA-256 {digest} instead of {file.digest}; it was changed")
    except OSError as error:
        raise StoreError(f"{source} cannot be copied to {target}: {error}") from error
    return digest


def _folder_digest(part: CarriedInput, digests: dict[Path, str]) -> str | None:
    """The digest of the folder that came; None when not all of its files were read."""
    root, folder = Path(part.path), DirectoryDigest()
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


def _link(link: Path, target: str) -> None:
    """Make the link that an author wants for an input."""
    with suppress(OSError):
        if link.readlink() == Path(target):  # an earlier try of the same attempt made it
            return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    except OSError as error:
        raise UserError(
            f"an input cannot be put at {link}: {error.strerror}; let the target choose its path"
        ) from error
