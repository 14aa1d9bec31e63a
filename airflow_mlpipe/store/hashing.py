"""Hashing what lies at a path: on all processors, and from memory where nothing has changed."""

from __future__ import annotations

import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.digest import MISSING_DIGEST, Content, DirectoryDigest, Entry
from airflow_mlpipe.store.hash_cache import HashCache, TreeMemory, TreeStamp, digest_at_rest
from airflow_mlpipe.store.parallel import default_threads, in_order
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import BLOCK, EmptyFolder, Leaf, TreeFile, tree_size, walk

# Enough for a thread to do before it has to wait for the others, and few enough for all to end together.
_CHUNK_FILES = 64
_CHUNK_BYTES = 4 * BLOCK


def describe(
    path: Path,
    cache: HashCache | None = None,
    progress: Progress | None = None,
    *,
    keep: Callable[[Entry], None] | None = None,
    threads: int | None = None,
) -> Content:
    """The content at *path*. *keep* is given every file of a folder, in order of their paths.

    Without a *cache*, all bytes are read. Files of a folder are read on as many *threads*, by default on
    :func:`~airflow_mlpipe.store.parallel.default_threads`; whatever their number, memory is taken for the
    names in one folder, not for the tree.

    Nothing there is content of kind "missing". The executable bit of a file counts inside a folder, not
    for a single file. Raises StoreError for what cannot be read or changes while it is read, and for
    entries that :func:`~airflow_mlpipe.store.tree.walk` refuses.
    """
    cache = cache or HashCache(None)
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
        progress.expect(lambda: tree_size(path))
        return _describe_leaves(lambda: walk(path), cache, cache.tree(path), progress, keep, threads)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is neither a file nor a folder; give one that is")
    return _describe_file(path, status.st_size, cache, progress)


def describe_files(
    place: Path,
    files: Sequence[TreeFile],
    cache: HashCache,
    progress: Progress | None = None,
    *,
    threads: int | None = None,
) -> Content:
    """The content of a folder of these *files* only, which come in order of their paths.

    *place* stands for them in the *cache*. Reads, and raises, as :func:`describe` does.
    """
    progress = progress or Progress.silent()
    progress.expect(sum(file.size for file in files))
    return _describe_leaves(lambda: files, cache, cache.tree(place), progress, threads=threads)


class _Found(NamedTuple):
    """A leaf and its digest in hex, "" for an empty folder."""

    leaf: Leaf
    digest: str


def _describe_leaves(
    leaves: Callable[[], Iterable[Leaf]],
    cache: HashCache,
    memory: TreeMemory,
    progress: Progress,
    keep: Callable[[Entry], None] | None = None,
    threads: int | None = None,
) -> Content:
    if keep is None and memory.knows_tree and (content := _recall(leaves(), memory)) is not None:
        return content
    folder, size = DirectoryDigest(), 0
    with closing(_digests(leaves(), cache, memory, threads or default_threads())) as found:
        for leaf, digest in found:
            memory.learn(leaf, digest)
            if isinstance(leaf, EmptyFolder):
                folder.add_empty_folder(leaf.path)
                continue
            folder.add_file(leaf.path, digest, executable=leaf.executable)
            size += leaf.status.st_size
            progress.advance(leaf.status.st_size)
            if keep is not None:
                keep(Entry(leaf.path, leaf.size, digest, leaf.executable))
    memory.learn_tree(folder.hexdigest())
    return Content("directory", folder.hexdigest(), size)


def _recall(leaves: Iterable[Leaf], memory: TreeMemory) -> Content | None:
    """The content of a folder of *leaves*, if their states are remembered as they are now."""
    stamp, size = TreeStamp(), 0
    for leaf in leaves:
        stamp.add(leaf)
        if isinstance(leaf, TreeFile):
            size += leaf.status.st_size
    digest = memory.tree_digest(stamp)
    return None if digest is None else Content("directory", digest, size)


def _digests(
    leaves: Iterable[Leaf], cache: HashCache, memory: TreeMemory, threads: int
) -> Generator[_Found, None, None]:
    """Each of *leaves* with its digest; a file that had to be read with the status it had then."""

    def complete(chunk: list[TreeFile | _Found], checkpoint: Callable[[], None]) -> list[_Found]:
        return [item if isinstance(item, _Found) else _read(item, cache.say, checkpoint) for item in chunk]

    with closing(in_order(complete, _chunks(leaves, memory), threads)) as chunks:
        for chunk in chunks:
            yield from chunk


def _chunks(leaves: Iterable[Leaf], memory: TreeMemory) -> Iterator[list[TreeFile | _Found]]:
    """Work for one thread at a time: files to be read, among leaves whose digests are known."""
    chunk, unread = list[TreeFile | _Found](), 0
    for leaf in leaves:
        if isinstance(leaf, EmptyFolder):
            chunk.append(_Found(leaf, ""))
        elif (digest := memory.file_digest(leaf)) is not None:
            chunk.append(_Found(leaf, digest))
        else:
            chunk.append(leaf)
            unread += leaf.status.st_size
        if len(chunk) == _CHUNK_FILES or unread >= _CHUNK_BYTES:
            yield chunk
            chunk, unread = [], 0
    if chunk:
        yield chunk


def _read(file: TreeFile, say: Callable[[str], None], checkpoint: Callable[[], None]) -> _Found:
    checkpoint()
    try:
        digest, status = digest_at_rest(file.source, file.status, _watch(file, say, checkpoint))
    except OSError as error:
        raise _unreadable(file.source, error) from error
    return _Found(file if status is file.status else file._replace(status=status), digest)


def _watch(
    file: TreeFile, say: Callable[[str], None], checkpoint: Callable[[], None]
) -> Callable[[int], None]:
    """What is told of each block that is read of *file*: of one that takes long, how far it is is said."""
    if file.status.st_size <= _CHUNK_BYTES:
        return _ignore
    progress = Progress(f"hashing {file.source.rpartition('/')[2]}", say)
    progress.expect(file.size)

    def count(size: int) -> None:
        checkpoint()
        progress.advance(size)

    return count


def _ignore(size: int) -> None:
    pass


def _describe_file(path: Path, size: int, cache: HashCache, progress: Progress) -> Content:
    progress.expect(size)
    try:
        digest = cache.file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    progress.advance(size)
    return Content("file", digest, size)


def _unreadable(path: str | Path, error: OSError) -> StoreError:
    return StoreError(f"cannot read {path}: {error.strerror}; check that it is there and its permissions")
