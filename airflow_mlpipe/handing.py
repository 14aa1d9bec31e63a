"""Handing credentials to a process on this machine, so that no file with a name ever holds them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_mlpipe.records import HandedCredentials, to_json


@contextmanager
def handed_over(credentials: HandedCredentials) -> Iterator[int | None]:
    """The descriptor of a file without a name that holds *credentials*; None when there are none.

    It is closed at the end of the block; a process that was to inherit it has its own by then.
    """
    if not credentials.urls:
        yield None
        return
    descriptor = _file_without_a_name()
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(to_json(credentials).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _file_without_a_name() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mlpipe-credentials")
    descriptor, path = tempfile.mkstemp(prefix="mlpipe-")  # for its owner's eyes only
    os.unlink(path)  # noqa: PTH108 - mkstemp gives a text
    return descriptor
