"""Reading from a server that fails now and then."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.server import Server
from airflow_mlpipe.store.transient import Tries


def blocks_of(
    server: Server, path: str, start: int, stop: int, stamp: str | None, pause: Callable[[float], object]
) -> Generator[bytes, None, None]:
    """The bytes from *start* to *stop* of a file in the state *stamp*, in blocks.

    What fails in passing is read again from where it failed, with *pause* between the tries; as long as bytes
    come, there is another. Raises StoreError as :meth:`Server.read`.
    """
    tries = Tries(pause)
    while start < stop:
        try:
            with closing(server.read(path, start, stop, stamp)) as blocks:
                for block in blocks:
                    start += len(block)
                    yield block
                    tries = Tries(pause)
        except StoreError as error:
            tries.failed(error)
