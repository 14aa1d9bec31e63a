"""Fetching a sealed output, proven to be what was sealed."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.atomic import remove, temporary_beside
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.listing import entries_of
from airflow_mlpipe.store.manifest import ManifestOutput
from airflow_mlpipe.store.progress import Progress


def retrieve(
    datastore: Datastore, output: ManifestOutput, destination: Path, progress: Progress, *, replace: bool
) -> None:
    """Copy *output* to *destination*, where it appears when every byte was compared with its digest.

    With *replace* it takes the place of what is there, which otherwise is refused. Raises StoreError, and
    then leaves *destination* as it was.
    """
    if not replace and (destination.exists() or destination.is_symlink()):
        raise StoreError(f"{destination} is there already; choose another place, or replace it")
    try:
        with temporary_beside(destination) as temporary:
            datastore.download(output.key, temporary, progress)
            if output.kind == "directory":
                _restore_modes(datastore, output, temporary)
            _refuse_damage(output, temporary)
            remove(destination)
            temporary.replace(destination)
    except OSError as error:
        raise StoreError(f"output {output.name!r} cannot be put at {destination}: {error}") from error


def _restore_modes(datastore: Datastore, output: ManifestOutput, folder: Path) -> None:
    """Object stores keep no executable bits; the manifest does."""
    for entry in entries_of(datastore, output):
        path = folder / entry.path
        if entry.executable and path.is_file():
            path.chmod(path.stat().st_mode | 0o100)


def _refuse_damage(output: ManifestOutput, fetched: Path) -> None:
    content = describe(fetched)
    if (content.kind, content.digest) != (output.kind, output.digest):
        raise StoreError(
            f"output {output.name!r} is damaged: its SHA-256 is {content.digest}, the manifest says "
            f"{output.digest}; `airflow mlpipe verify` names the files"
        )
