"""Copying data from wherever it lies to this machine."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.access import filesystem
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.tree import copy


def local_path(uri: str) -> Path | None:
    """Where *uri* lies on this machine's disks; None when it lies elsewhere. Nothing is percent-encoded."""
    return Path(uri.removeprefix("file://")) if uri.startswith("file://") else None


def fetch(uri: str, destination: Path, progress: Progress) -> None:
    """Copy the file or folder at *uri* to *destination*, which appears when all of it is there.

    Raises StoreError when it is not there or cannot be read.
    """
    local = local_path(uri)
    try:
        with arriving(destination) as temporary:
            if local is not None:
                copy(local, temporary, progress)
            else:
                _download(uri, temporary)
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{uri} cannot be copied here: {type(error).__name__}: {error}") from error


def _download(uri: str, destination: Path) -> None:
    opened, path = filesystem(uri)
    if opened.isdir(path):
        opened.get(path.rstrip("/") + "/", f"{destination}/", recursive=True)
    else:
        opened.get_file(path, str(destination))
