"""Which files a server has already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing

from airflow_mlpipe.store.parallel import in_order
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.origin import Origin
from airflow_mlpipe.store.transfer.remote_file import RemoteFile
from airflow_mlpipe.store.transfer.server import THREADS, Server

Sendable = tuple[Origin, str]
"""A file, and the path on a server at which it is to be."""


def absent(
    server: Server,
    files: Iterable[Sendable],
    there: Mapping[str, RemoteFile],
    digests: RemoteDigests | None,
) -> list[Sendable]:
    """Those of *files* that are not known to lie at their paths already.

    *there* is what *server* has listed, by path. What it holds is known by *digests*, or noted beside the
    files by uploads of ours. Raises StoreError.
    """

    def looked_at() -> Iterator[tuple[Sendable, str | None]]:
        for origin, path in files:
            found = there.get(path)
            is_alike = found is not None and found.size == origin.size()
            yield (origin, path), digests.find(found) if is_alike and digests and found else None

    def is_absent(item: tuple[Sendable, str | None], checkpoint: Callable[[], None]) -> Sendable | None:
        checkpoint()
        (origin, path), known = item
        found = there.get(path)
        if found is None or found.size != origin.size() or (digest := origin.find_digest()) is None:
            return origin, path
        return None if digest == known or digest == server.digest_beside(path) else (origin, path)

    with closing(in_order(is_absent, looked_at(), THREADS)) as looked:
        return [item for item in looked if item is not None]
